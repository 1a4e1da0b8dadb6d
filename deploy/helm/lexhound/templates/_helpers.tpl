{{- define "lexhound.name" -}}
{{- $name := contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) }}
{{- $name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "lexhound.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "lexhound.labels" -}}
{{ include "lexhound.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "lexhound.secret" -}}
{{- .Values.auth.existingSecret | default (include "lexhound.name" .) }}
{{- end }}

{{- define "lexhound.hasKey" -}}
{{- if or .Values.auth.existingSecret .Values.auth.apiKey }}true{{ end }}
{{- end }}
