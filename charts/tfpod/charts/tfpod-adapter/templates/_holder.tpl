{{- /* Who serves custom.metrics.k8s.io, in any version, as JSON {who, name}:
  nobody, us     this release may
  tfpod          the adapter of another release
  other          something else
  unknown        the API is served, but rendering without the cluster cannot tell by whom */}}
{{- define "tfpod-adapter.holder" -}}
{{- $all := (lookup "apiregistration.k8s.io/v1" "APIService" "" "").items -}}
{{- $holder := dict "who" "nobody" "name" "" -}}
{{- range $all -}}
{{- if eq (dig "spec" "group" "" .) "custom.metrics.k8s.io" -}}
{{- $by := include "tfpod-adapter.holderOf" (list $ .) | fromJson -}}
{{- if or (eq $by.who "other") (ne $holder.who "other") }}{{ $holder = $by }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if not $all -}}
{{- range .Capabilities.APIVersions -}}
{{- if hasPrefix "custom.metrics.k8s.io/" . }}{{ $holder = dict "who" "unknown" "name" "" }}{{ end -}}
{{- end -}}
{{- end -}}
{{ toJson $holder }}
{{- end }}

{{- /* The same for one APIService; call with (list $ APISERVICE). */}}
{{- define "tfpod-adapter.holderOf" -}}
{{- $release := (index . 0).Release -}}
{{- $meta := (index . 1).metadata -}}
{{- $owner := dig "annotations" "meta.helm.sh/release-name" "" $meta -}}
{{- $where := dig "annotations" "meta.helm.sh/release-namespace" "" $meta -}}
{{- $name := printf "APIService %s" $meta.name -}}
{{- if $owner }}{{ $name = printf "%s of release %s in namespace %s" $name $owner $where }}{{ end -}}
{{- $who := ternary "tfpod" "other" (eq (dig "labels" "app.kubernetes.io/name" "" $meta) "tfpod-adapter") -}}
{{- if and (eq $owner $release.Name) (eq $where $release.Namespace) }}{{ $who = "us" }}{{ end -}}
{{ dict "who" $who "name" $name | toJson }}
{{- end }}

{{- /* Refuses an upgrade that would remove this release's adapter while others rely on it; `helm uninstall` renders
nothing, so there the Job of _uninstall.tpl asks the same. */}}
{{- define "tfpod-adapter.refuseRemoval" -}}
{{- if lookup "apps/v1" "Deployment" .Release.Namespace (include "tfpod-adapter.name" .) -}}
{{- $others := list -}}
{{- range (lookup "autoscaling/v2" "HorizontalPodAutoscaler" "" "").items -}}
{{- $ours := and (eq .metadata.namespace $.Release.Namespace) (eq (dig "labels" "app.kubernetes.io/instance" "" .metadata) $.Release.Name) -}}
{{- if and (not $ours) (contains "\"name\":\"tfpod_" (toJson .spec.metrics)) -}}
{{- $others = append $others (printf "%s/%s" .metadata.namespace .metadata.name) -}}
{{- end -}}
{{- end -}}
{{- if $others -}}
{{- fail (printf "\n\nThese values remove the metrics adapter of this release, but other HPAs rely on it: %s.\nRemove those first, or leave the adapter here: autoscaling.enabled=true, autoscaling.metricsSource=builtin, adapter.enabled=true." (join ", " $others)) -}}
{{- end -}}
{{- end -}}
{{- end }}
