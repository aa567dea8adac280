{{- /* Who serves the HPA's metrics:
  off        no HPA
  own        the adapter of this release
  shared     the adapter of another release
  external   whoever else serves custom.metrics.k8s.io, by the user's decision
  foreign    whoever else serves it, because the API is taken
The cluster is only asked where the answer depends on it: those who may not look across namespaces set adapter.enabled=false. */}}
{{- define "tfpod.metricsSource" -}}
{{- $source := .Values.autoscaling.metricsSource -}}
{{- if or (not .Values.autoscaling.enabled) (eq $source "none") }}off
{{- else if or (eq $source "prometheus-adapter") (not .Values.adapter.enabled) }}external
{{- else -}}
{{- $holder := include "tfpod-adapter.holder" .Subcharts.adapter | fromJson -}}
{{- if has $holder.who (list "nobody" "us") }}own
{{- else if eq $holder.who "tfpod" }}shared
{{- else if and (eq $holder.who "unknown") (eq $source "builtin") }}own
{{- else if eq $holder.who "unknown" }}
{{- fail "\n\nThe cluster serves custom.metrics.k8s.io, and rendering without access to it cannot tell for whom.\nSet autoscaling.metricsSource to builtin (the tfpod adapter is to serve it) or to prometheus-adapter (somebody else does)." }}
{{- else if eq $source "builtin" }}
{{- fail (printf "\n\nautoscaling.metricsSource=builtin: custom.metrics.k8s.io is already served by %s.\nUse autoscaling.metricsSource=auto or prometheus-adapter to rely on that, or remove it first." $holder.name) }}
{{- else }}foreign{{ end }}
{{- end }}
{{- end }}
