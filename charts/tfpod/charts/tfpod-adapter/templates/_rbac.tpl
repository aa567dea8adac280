{{- /* What the adapter may do: list pods, check who asks it, and whether they may. */}}
{{- define "tfpod-adapter.rbac" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "tfpod-adapter.name" . }}
  labels:
    {{- include "tfpod-adapter.labels" . | nindent 4 }}
  {{- with .Values.serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ include "tfpod-adapter.clusterName" . }}
  labels:
    {{- include "tfpod-adapter.labels" . | nindent 4 }}
rules:
  - apiGroups: [""]
    resources: [pods]
    verbs: [list]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ include "tfpod-adapter.clusterName" . }}
  labels:
    {{- include "tfpod-adapter.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ include "tfpod-adapter.clusterName" . }}
subjects:
  {{- include "tfpod-adapter.subject" . | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ include "tfpod-adapter.clusterName" . }}:auth-delegator
  labels:
    {{- include "tfpod-adapter.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: system:auth-delegator
subjects:
  {{- include "tfpod-adapter.subject" . | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ include "tfpod-adapter.clusterName" . }}:auth-reader
  namespace: kube-system
  labels:
    {{- include "tfpod-adapter.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: extension-apiserver-authentication-reader
subjects:
  {{- include "tfpod-adapter.subject" . | nindent 2 }}
{{- end }}

{{- define "tfpod-adapter.subject" -}}
- kind: ServiceAccount
  name: {{ include "tfpod-adapter.name" . }}
  namespace: {{ .Release.Namespace | quote }}
{{- end }}
