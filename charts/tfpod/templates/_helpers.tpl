{{- define "tfpod.name" -}}
{{- if contains "tfpod" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-tfpod{{ end }}
{{- end }}

{{- /* Labels of every object; call with (list $ COMPONENT). */}}
{{- define "tfpod.labels" -}}
{{- $ := index . 0 -}}
{{ include "tfpod.selector" . }}
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: tfpod
app.kubernetes.io/managed-by: {{ $.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $.Chart.Name $.Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* Labels that select pods. The component keeps test pods and the adapter's out of the Service and the HPA. */}}
{{- define "tfpod.selector" -}}
app.kubernetes.io/name: tfpod
app.kubernetes.io/instance: {{ (index . 0).Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "tfpod.image" -}}
{{- $image := .Values.image -}}
{{- $repository := $image.repository | default (ternary "tfpod-litert" "tfpod" (eq .Values.runtime "litert")) -}}
{{- if $image.digest }}{{ $repository }}@{{ $image.digest }}
{{- else }}{{ $repository }}:{{ ternary $image.tag (int64 $image.tag) (kindIs "string" $image.tag) | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "tfpod.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "tfpod.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- /* The Secret whose key `tokens` lists who may call; empty: everybody. */}}
{{- define "tfpod.tokenSecret" -}}
{{- if .Values.auth.tokens }}{{ include "tfpod.name" . }}-tokens{{ else }}{{ .Values.auth.existingSecret }}{{ end }}
{{- end }}

{{- /* Where sessions are kept: redis, memory or nowhere. */}}
{{- define "tfpod.sessions" -}}
{{- $redis := .Values.sessions.redis -}}
{{- if not .Values.sessions.enabled }}nowhere{{ else if or $redis.url $redis.existingSecret }}redis{{ else }}memory{{ end }}
{{- end }}

{{- /* TFPOD_MODELS: NAME=PATH,… */}}
{{- define "tfpod.models" -}}
{{- $model := .Values.model -}}
{{- $home := ternary "/models" (printf "/app/models/%s" $model.name) (ne $model.existingClaim "") -}}
{{ $model.name }}={{ $model.path | default $home }}
{{- range $name, $path := $model.others }},{{ $name }}={{ $path }}{{ end }}
{{- end }}

{{- /* The container's resources, the GPUs among the limits. Memory that is "" is what the runtime needs; null is none. */}}
{{- define "tfpod.resources" -}}
{{- $resources := deepCopy .Values.resources -}}
{{- $tensorflow := dict "requests" "768Mi" "limits" "2Gi" -}}
{{- $litert := dict "requests" "96Mi" "limits" "512Mi" -}}
{{- range $kind, $memory := ternary $litert $tensorflow (eq .Values.runtime "litert") -}}
{{- $amounts := get $resources $kind -}}
{{- if and $amounts (eq (toString (get $amounts "memory")) "") (hasKey $amounts "memory") -}}
{{- $_ := set $amounts "memory" $memory -}}
{{- end -}}
{{- end -}}
{{- if .Values.gpu.count -}}
{{- $limits := set ($resources.limits | default dict) .Values.gpu.resourceName (int .Values.gpu.count) -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{ toYaml $resources }}
{{- end }}

{{- /* "true" where the pods request a GPU, by gpu.count or by resources themselves. */}}
{{- define "tfpod.requestsGpu" -}}
{{- $limits := (include "tfpod.resources" . | fromYaml).limits | default dict -}}
{{- if hasKey $limits .Values.gpu.resourceName }}true{{ end }}
{{- end }}

{{- /* The HPA's metrics, target by name. The GPU's is in exactly when every pod reports it: one that is missing blocks
every scale-in. */}}
{{- define "tfpod.hpaMetrics" -}}
{{- $scaling := .Values.autoscaling -}}
{{- $metrics := dict -}}
{{- with $scaling.requestsPerSecond }}{{ $_ := set $metrics "tfpod_requests_per_second" . }}{{ end -}}
{{- if or (include "tfpod.requestsGpu" .) $scaling.forceGpuMetric -}}
{{- with $scaling.gpuUtilization }}{{ $_ := set $metrics "tfpod_gpu_utilization_percent" . }}{{ end -}}
{{- end -}}
{{ toYaml $metrics }}
{{- end }}

{{- /* The API is exposed outside the cluster by this. */}}
{{- define "tfpod.exposedBy" -}}
{{- if .Values.ingress.enabled }}ingress.enabled
{{- else if .Values.httpRoute.enabled }}httpRoute.enabled
{{- else if ne .Values.service.type "ClusterIP" }}service.type={{ .Values.service.type }}{{ end }}
{{- end }}
