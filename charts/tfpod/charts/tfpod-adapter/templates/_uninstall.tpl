{{- /* `helm uninstall` runs this Job first: while HPAs of others rely on the adapter it fails, and nothing is removed.
Its rights are ordinary objects of the release, so that they go with it however it is removed. */}}
{{- define "tfpod-adapter.uninstall" -}}
{{- $name := printf "%s-uninstall" (include "tfpod-adapter.name" . | trunc 53 | trimSuffix "-") -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $name }}
  labels:
    {{- include "tfpod-adapter.labels" . | nindent 4 }}
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ include "tfpod-adapter.clusterName" . }}:uninstall
  labels:
    {{- include "tfpod-adapter.labels" . | nindent 4 }}
rules:
  - apiGroups: [autoscaling]
    resources: [horizontalpodautoscalers]
    verbs: [list]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ include "tfpod-adapter.clusterName" . }}:uninstall
  labels:
    {{- include "tfpod-adapter.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ include "tfpod-adapter.clusterName" . }}:uninstall
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ .Release.Namespace | quote }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ $name }}
  labels:
    {{- include "tfpod-adapter.labels" . | nindent 4 }}
  annotations:
    helm.sh/hook: pre-delete
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
    helm.sh/hook-output-log-policy: hook-failed
spec:
  backoffLimit: 0
  activeDeadlineSeconds: 60
  template:
    metadata:
      labels:
        {{- include "tfpod-adapter.selector" (list . "uninstall") | nindent 8 }}
    spec:
      {{- include "tfpod-adapter.placement" . | nindent 6 }}
      serviceAccountName: {{ $name }}
      automountServiceAccountToken: true
      restartPolicy: Never
      containers:
        - name: uninstall
          image: {{ include "tfpod-adapter.image" . | quote }}
          imagePullPolicy: {{ .Values.image.pullPolicy }}
          command: [python, -c]
          args:
            - |
              {{- .Files.Get "files/relied_on.py" | nindent 14 }}
          env:
            - name: RELEASE
              value: {{ .Release.Name | quote }}
            - name: REVISION
              value: {{ .Release.Revision | quote }}
            - name: NAMESPACE
              value: {{ .Release.Namespace | quote }}
          resources:
            {{- toYaml .Values.resources | nindent 12 }}
          securityContext:
            {{- include "tfpod-adapter.containerSecurity" . | nindent 12 }}
{{- end }}
