{{- /* The server pod, restricted Pod Security throughout. */}}
{{- define "tfpod.podSpec" -}}
{{- $tokenSecret := include "tfpod.tokenSecret" . -}}
serviceAccountName: {{ include "tfpod.serviceAccountName" . | quote }}
automountServiceAccountToken: false
# A Service called tfpod would inject TFPOD_PORT=tcp://…, which the pod would take for its own setting.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
terminationGracePeriodSeconds: {{ add (int .Values.drain.delay) (int .Values.drain.timeout) 5 }}
containers:
  - name: tfpod
    image: {{ include "tfpod.image" . | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    env:
      - name: TFPOD_MODELS
        value: {{ include "tfpod.models" . | quote }}
      {{- if .Values.grpc.enabled }}
      - name: TFPOD_GRPC
        value: "true"
      {{- end }}
      - name: TFPOD_REQUEST_TIMEOUT
        value: {{ .Values.requestTimeout | quote }}
      - name: TFPOD_DRAIN_DELAY
        value: {{ .Values.drain.delay | quote }}
      - name: TFPOD_DRAIN_TIMEOUT
        value: {{ .Values.drain.timeout | quote }}
      - name: TFPOD_LOG_LEVEL
        value: {{ .Values.logLevel }}
      {{- if $tokenSecret }}
      - name: TFPOD_TOKENS_FILE
        value: /etc/tfpod/auth/tokens
      {{- end }}
      - name: TFPOD_MAX_SESSIONS
        value: {{ ternary .Values.sessions.perPod 0 (eq (include "tfpod.sessions" .) "memory") | int64 | quote }}
      {{- if eq (include "tfpod.sessions" .) "redis" }}
      - name: TFPOD_SESSIONS_URL
        valueFrom:
          secretKeyRef:
            name: {{ .Values.sessions.redis.existingSecret | default (print (include "tfpod.name" .) "-sessions") | quote }}
            key: url
      {{- end }}
      {{- range $name, $value := .Values.settings }}
      - name: TFPOD_{{ upper $name }}
        value: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
      {{- end }}
      {{- with .Values.extraEnv }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    ports:
      - name: http
        containerPort: 8000
      - name: metrics
        containerPort: 9000
      {{- if .Values.grpc.enabled }}
      - name: grpc
        containerPort: 8500
      {{- end }}
    {{- include "tfpod.probes" . | nindent 4 }}
    resources:
      {{- include "tfpod.resources" . | nindent 6 }}
    securityContext:
      {{- include "tfpod.containerSecurity" . | nindent 6 }}
    volumeMounts:
      - name: tmp
        mountPath: /tmp
      {{- if .Values.model.existingClaim }}
      - name: models
        mountPath: /models
        readOnly: true
        {{- with .Values.model.subPath }}
        subPath: {{ . | quote }}
        {{- end }}
      {{- end }}
      {{- if $tokenSecret }}
      - name: tokens
        mountPath: /etc/tfpod/auth
        readOnly: true
      {{- end }}
      {{- with .Values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  - name: tmp
    emptyDir:
      sizeLimit: {{ .Values.tmpSizeLimit }}
  {{- with .Values.model.existingClaim }}
  - name: models
    persistentVolumeClaim:
      claimName: {{ . | quote }}
      readOnly: true
  {{- end }}
  {{- with $tokenSecret }}
  # Mounted as a folder: a file mounted by subPath never changes, and the pod reads new tokens as they come.
  - name: tokens
    secret:
      secretName: {{ . | quote }}
      defaultMode: 0440
      items:
        - key: tokens
          path: tokens
  {{- end }}
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- include "tfpod.scheduling" . }}
{{- end }}

{{- /* All on the admin port. The other two wait for the startup probe, which passes when the models are loaded. A busy
event loop answers late, so timeouts are long: a pod under load must not be taken for a dead one. */}}
{{- define "tfpod.probes" -}}
startupProbe:
  httpGet:
    path: /readyz
    port: metrics
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: {{ max 1 (div (int .Values.model.loadTimeout) 2) }}
readinessProbe:
  httpGet:
    path: /readyz
    port: metrics
  # Not longer than the delay: a draining pod has to be seen before it stops accepting.
  periodSeconds: {{ min 5 (int .Values.drain.delay) }}
  timeoutSeconds: 5
  failureThreshold: 3
livenessProbe:
  httpGet:
    path: /livez
    port: metrics
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 6
{{- end }}

{{- define "tfpod.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "tfpod.scheduling" }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $tolerations := .Values.tolerations }}
{{- if include "tfpod.requestsGpu" . }}
{{- $tolerations = append $tolerations (dict "key" .Values.gpu.resourceName "operator" "Exists" "effect" "NoSchedule") }}
{{- end }}
{{- with $tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if kindIs "slice" .Values.topologySpreadConstraints }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- else }}
topologySpreadConstraints:
  - topologyKey: kubernetes.io/hostname
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- include "tfpod.selector" (list . "server") | nindent 8 }}
{{- end }}
{{- end }}
