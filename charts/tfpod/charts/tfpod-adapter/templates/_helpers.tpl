{{- /* All that the chart installs. */}}
{{- define "tfpod-adapter.manifests" -}}
{{- range list "deployment" "service" "pdb" "rbac" "tls" "uninstall" }}
---
{{ include (printf "tfpod-adapter.%s" .) $ }}
{{- end }}
{{- end }}

{{- define "tfpod-adapter.name" -}}
{{- $base := ternary .Release.Name (printf "%s-tfpod" .Release.Name) (contains "tfpod" .Release.Name) | trunc 55 | trimSuffix "-" -}}
{{- ternary $base (printf "%s-adapter" $base) (hasSuffix "tfpod-adapter" $base) }}
{{- end }}

{{- /* Name of the objects that have no namespace or lie in kube-system. */}}
{{- define "tfpod-adapter.clusterName" -}}
tfpod-adapter:{{ .Release.Namespace }}:{{ .Release.Name }}
{{- end }}

{{- define "tfpod-adapter.labels" -}}
{{ include "tfpod-adapter.selector" (list . "adapter") }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: tfpod
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "tfpod-adapter-%s" .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* Labels of pods; call with (list $ COMPONENT). */}}
{{- define "tfpod-adapter.selector" -}}
app.kubernetes.io/name: tfpod-adapter
app.kubernetes.io/instance: {{ (index . 0).Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "tfpod-adapter.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest }}{{ $image.repository }}@{{ $image.digest }}
{{- else }}{{ $image.repository }}:{{ ternary $image.tag (int64 $image.tag) (kindIs "string" $image.tag) | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* What the adapter's pods and the uninstall Job have in common. */}}
{{- define "tfpod-adapter.placement" -}}
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- range $key := list "imagePullSecrets" "priorityClassName" "nodeSelector" "affinity" "tolerations" }}
{{- with get $.Values $key }}
{{ $key }}: {{ toJson . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tfpod-adapter.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
