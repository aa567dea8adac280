{{- /* The certificate and, because they have to carry what signed it, the APIServices. */}}
{{- define "tfpod-adapter.tls" -}}
{{- $mode := .Values.tls.mode -}}
{{- if eq $mode "helm" -}}
{{- $pair := include "tfpod-adapter.certificate" . | fromJson -}}
apiVersion: v1
kind: Secret
metadata:
  name: {{ include "tfpod-adapter.tlsSecret" . }}
  labels:
    {{- include "tfpod-adapter.labels" . | nindent 4 }}
type: kubernetes.io/tls
data:
  {{- toYaml $pair | nindent 2 }}
---
{{ include "tfpod-adapter.apiServices" (list . (printf "caBundle: %s" (get $pair "ca.crt")) "") }}
{{- else if eq $mode "cert-manager" -}}
{{ include "tfpod-adapter.issued" . }}
---
{{ include "tfpod-adapter.apiServices" (list . "" (printf "cert-manager.io/inject-ca-from: %s/%s" .Release.Namespace (include "tfpod-adapter.name" .))) }}
{{- else -}}
{{- if not (and .Values.tls.existingSecret .Values.tls.caBundle) -}}
{{- fail "\n\ntls.mode=existingSecret needs tls.existingSecret and tls.caBundle" -}}
{{- end -}}
{{ include "tfpod-adapter.apiServices" (list . (printf "caBundle: %s" (b64enc .Values.tls.caBundle)) "") }}
{{- end }}
{{- end }}

{{- define "tfpod-adapter.tlsSecret" -}}
{{- $name := include "tfpod-adapter.name" . -}}
{{- get (dict "helm" (printf "%s-tls" $name) "cert-manager" (printf "%s-cert" $name) "existingSecret" .Values.tls.existingSecret) .Values.tls.mode }}
{{- end }}

{{- define "tfpod-adapter.host" -}}
{{ include "tfpod-adapter.name" . }}.{{ .Release.Namespace }}.svc
{{- end }}

{{- /* The Secret's data as JSON: what the cluster has already, else a new authority and a certificate by it. Ten years,
because a certificate that runs out stops every HPA of the cluster. */}}
{{- define "tfpod-adapter.certificate" -}}
{{- $kept := (lookup "v1" "Secret" .Release.Namespace (include "tfpod-adapter.tlsSecret" .)).data | default dict -}}
{{- if and (hasKey $kept "ca.crt") (hasKey $kept "tls.crt") (hasKey $kept "tls.key") -}}
{{ pick $kept "ca.crt" "tls.crt" "tls.key" | toJson }}
{{- else -}}
{{- $host := include "tfpod-adapter.host" . -}}
{{- $ca := genCA "tfpod-adapter" 3650 -}}
{{- $cert := genSignedCert $host nil (list $host) 3650 $ca -}}
{{ dict "ca.crt" (b64enc $ca.Cert) "tls.crt" (b64enc $cert.Cert) "tls.key" (b64enc $cert.Key) | toJson }}
{{- end -}}
{{- end }}

{{- define "tfpod-adapter.issued" -}}
apiVersion: cert-manager.io/v1
kind: Issuer
metadata:
  name: {{ include "tfpod-adapter.name" . }}
  labels:
    {{- include "tfpod-adapter.labels" . | nindent 4 }}
spec:
  selfSigned: {}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: {{ include "tfpod-adapter.name" . }}
  labels:
    {{- include "tfpod-adapter.labels" . | nindent 4 }}
spec:
  secretName: {{ include "tfpod-adapter.tlsSecret" . }}
  commonName: tfpod-adapter
  dnsNames: [{{ include "tfpod-adapter.host" . }}]
  duration: 87600h
  issuerRef:
    name: {{ include "tfpod-adapter.name" . }}
{{- end }}

{{- /* Call with (list $ CA-BUNDLE-FIELD ANNOTATION). The HPA asks in v1beta2; v1beta1 is for older clients. */}}
{{- define "tfpod-adapter.apiServices" -}}
{{- $ := index . 0 -}}
{{- $caBundle := index . 1 -}}
{{- $annotation := index . 2 -}}
{{- range $version, $priority := dict "v1beta1" 100 "v1beta2" 200 }}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata:
  name: {{ $version }}.custom.metrics.k8s.io
  labels:
    {{- include "tfpod-adapter.labels" $ | nindent 4 }}
  {{- with $annotation }}
  annotations:
    {{ . }}
  {{- end }}
spec:
  group: custom.metrics.k8s.io
  version: {{ $version }}
  groupPriorityMinimum: 100
  versionPriority: {{ $priority }}
  service:
    name: {{ include "tfpod-adapter.name" $ }}
    namespace: {{ $.Release.Namespace | quote }}
  {{- with $caBundle }}
  {{ . }}
  {{- end }}
{{- end }}
{{- end }}
