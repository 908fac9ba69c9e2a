{{- define "shop.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "shop.labels" -}}
{{ include "shop.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* One pod that runs a script once, for hooks: (dict "root" . "name" "..." "script" "..."). */ -}}
{{- define "shop.script" -}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - name: script
    image: {{ .root.Values.image }}
    command: [sh, -c, {{ .script | quote }}]
{{- end }}
