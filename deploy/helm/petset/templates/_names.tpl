{{- define "petset.labels" -}}
app.kubernetes.io/name: petset
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: petset
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
{{- define "petset.selector" -}}
app.kubernetes.io/name: petset
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- /* "true" where cert-manager makes the certificate, "" where the replicas do. */ -}}
{{- define "petset.certManager" -}}
{{- if eq .Values.certificates "cert-manager" -}}true
{{- else if and (eq .Values.certificates "auto") (.Capabilities.APIVersions.Has "cert-manager.io/v1") -}}true
{{- end -}}
{{- end }}
