{{- define "tfpod-adapter.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "tfpod-adapter.name" . }}
  labels:
    {{- include "tfpod-adapter.labels" . | nindent 4 }}
spec:
  replicas: {{ .Values.replicas }}
  revisionHistoryLimit: 3
  selector:
    matchLabels:
      {{- include "tfpod-adapter.selector" (list . "adapter") | nindent 6 }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 0
      maxSurge: 1
  template:
    metadata:
      labels:
        {{- include "tfpod-adapter.labels" . | nindent 8 }}
        {{- with .Values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .Values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      {{- include "tfpod-adapter.placement" . | nindent 6 }}
      serviceAccountName: {{ include "tfpod-adapter.name" . }}
      automountServiceAccountToken: true
      containers:
        - name: adapter
          image: {{ include "tfpod-adapter.image" . | quote }}
          imagePullPolicy: {{ .Values.image.pullPolicy }}
          env:
            - name: TFPOD_ADAPTER_LOG_LEVEL
              value: {{ .Values.logLevel }}
          ports:
            - name: https
              containerPort: 6443
            - name: health
              containerPort: 8080
          readinessProbe:
            httpGet:
              path: /readyz
              port: health
            periodSeconds: 5
            timeoutSeconds: 3
          livenessProbe:
            httpGet:
              path: /livez
              port: health
            initialDelaySeconds: 10
            periodSeconds: 10
            timeoutSeconds: 5
          resources:
            {{- toYaml .Values.resources | nindent 12 }}
          securityContext:
            {{- include "tfpod-adapter.containerSecurity" . | nindent 12 }}
          volumeMounts:
            - name: tls
              mountPath: /etc/tfpod-adapter/tls
              readOnly: true
            - name: tmp
              mountPath: /tmp
      volumes:
        - name: tls
          secret:
            secretName: {{ include "tfpod-adapter.tlsSecret" . | quote }}
            defaultMode: 0440
        - name: tmp
          emptyDir:
            sizeLimit: 16Mi
      topologySpreadConstraints:
        - topologyKey: kubernetes.io/hostname
          maxSkew: 1
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "tfpod-adapter.selector" (list . "adapter") | nindent 14 }}
{{- end }}

{{- define "tfpod-adapter.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "tfpod-adapter.name" . }}
  labels:
    {{- include "tfpod-adapter.labels" . | nindent 4 }}
spec:
  ipFamilyPolicy: PreferDualStack
  selector:
    {{- include "tfpod-adapter.selector" (list . "adapter") | nindent 4 }}
  ports:
    - name: https
      port: 443
      targetPort: https
      appProtocol: https
{{- end }}

{{- define "tfpod-adapter.pdb" -}}
{{- if gt (int .Values.replicas) 1 -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "tfpod-adapter.name" . }}
  labels:
    {{- include "tfpod-adapter.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "tfpod-adapter.selector" (list . "adapter") | nindent 6 }}
{{- end }}
{{- end }}
