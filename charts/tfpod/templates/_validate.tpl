{{- /* Refuses values that contradict each other, all contradictions at once. What a single value may be is said in
values.schema.json. */}}
{{- define "tfpod.validate" -}}
{{- $v := .Values -}}
{{- $faults := list -}}

{{- $exposed := include "tfpod.exposedBy" . -}}
{{- $guarded := or $v.auth.tokens $v.auth.existingSecret -}}
{{- if and $exposed (not $guarded) (not $v.auth.anonymous) -}}
{{- $faults = append $faults (printf "%s exposes the API to everybody: set auth.tokens or auth.existingSecret, or auth.anonymous=true if that is meant" $exposed) -}}
{{- end -}}
{{- if and $v.auth.tokens $v.auth.existingSecret -}}
{{- $faults = append $faults "auth.tokens and auth.existingSecret exclude each other" -}}
{{- end -}}
{{- if and $v.auth.anonymous $guarded -}}
{{- $faults = append $faults "auth.anonymous=true contradicts auth.tokens and auth.existingSecret" -}}
{{- end -}}

{{- $scaling := $v.autoscaling -}}
{{- if $scaling.enabled -}}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) -}}
{{- $faults = append $faults (printf "autoscaling.minReplicas (%v) is greater than autoscaling.maxReplicas (%v)" $scaling.minReplicas $scaling.maxReplicas) -}}
{{- end -}}
{{- if and $scaling.forceGpuMetric (not $scaling.gpuUtilization) -}}
{{- $faults = append $faults "autoscaling.forceGpuMetric needs autoscaling.gpuUtilization" -}}
{{- end -}}
{{- if and (ne $scaling.metricsSource "none") (not (include "tfpod.hpaMetrics" . | fromYaml)) -}}
{{- $faults = append $faults "autoscaling.enabled without a metric: set autoscaling.requestsPerSecond, or gpu.count and autoscaling.gpuUtilization" -}}
{{- end -}}
{{- if and (eq $scaling.metricsSource "builtin") (not $v.adapter.enabled) -}}
{{- $faults = append $faults "autoscaling.metricsSource=builtin needs adapter.enabled=true" -}}
{{- end -}}
{{- end -}}

{{- $redis := $v.sessions.redis -}}
{{- if and $redis.url $redis.existingSecret -}}
{{- $faults = append $faults "sessions.redis.url and sessions.redis.existingSecret exclude each other" -}}
{{- end -}}
{{- if and (or $redis.url $redis.existingSecret) (not $v.sessions.enabled) -}}
{{- $faults = append $faults "sessions.redis needs sessions.enabled=true" -}}
{{- end -}}
{{- $pods := ternary (list "autoscaling.maxReplicas" $scaling.maxReplicas) (list "replicas" $v.replicas) $scaling.enabled -}}
{{- if and (eq (include "tfpod.sessions" .) "memory") (gt (int (last $pods)) 1) -}}
{{- $faults = append $faults (printf "%s is %v, and a session in one pod's memory is unknown to the others: set sessions.redis.url or sessions.redis.existingSecret, or no more than one pod" (first $pods) (last $pods)) -}}
{{- end -}}

{{- if lt (int $v.drain.timeout) (int $v.requestTimeout) -}}
{{- $faults = append $faults (printf "drain.timeout (%v) is less than requestTimeout (%v): a pod that stops would cut requests off" $v.drain.timeout $v.requestTimeout) -}}
{{- end -}}
{{- if and (eq $v.runtime "litert") (include "tfpod.requestsGpu" .) -}}
{{- $faults = append $faults "runtime=litert computes on processors only: gpu.count needs runtime=tensorflow" -}}
{{- end -}}
{{- if and $v.model.subPath (not $v.model.existingClaim) -}}
{{- $faults = append $faults "model.subPath needs model.existingClaim" -}}
{{- end -}}
{{- if hasKey $v.model.others $v.model.name -}}
{{- $faults = append $faults (printf "model.others names %s, which is model.name already" $v.model.name) -}}
{{- end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) -}}
{{- $faults = append $faults "httpRoute.enabled needs httpRoute.parentRefs" -}}
{{- end -}}
{{- if and $v.grpc.enabled (eq (int $v.service.port) 8500) -}}
{{- $faults = append $faults "service.port=8500 is the port of grpc.enabled already" -}}
{{- end -}}
{{- $ours := dict "models" "model.*" "grpc" "grpc.enabled" "grpc_port" "grpc.enabled" "tokens_file" "auth.*" "request_timeout" "requestTimeout" "drain_delay" "drain.delay" "drain_timeout" "drain.timeout" "log_level" "logLevel" "sessions_url" "sessions.redis.*" "max_sessions" "sessions.perPod" -}}
{{- range $v.extraEnv -}}
{{- if hasPrefix "TFPOD_" .name -}}
{{- $setting := trimPrefix "TFPOD_" .name | lower -}}
{{- $faults = append $faults (printf "extraEnv sets %s, which is for the value %s" .name (get $ours $setting | default (print "settings." $setting))) -}}
{{- end -}}
{{- end -}}

{{- if $faults -}}
{{- fail (printf "\n\nThese values cannot be used together:\n  - %s" (join "\n  - " $faults)) -}}
{{- end -}}
{{- end }}
