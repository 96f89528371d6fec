{{- define "noether.uiSelector" -}}
{{ include "noether.base" . }}
app.kubernetes.io/component: ui
{{- end }}

{{/* The port of ui.prometheusUrl. */}}
{{- define "noether.uiPort" -}}
{{- $url := urlParse .Values.ui.prometheusUrl }}
{{- regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (ternary "443" "80" (eq $url.scheme "https")) }}
{{- end }}

{{/* Mistakes of the values ui and store that a schema cannot see. */}}
{{- define "noether.checkUI" -}}
{{- with .Values.ui }}
{{- if and .enabled (not .prometheusUrl) }}
{{- fail "ui.enabled: the page shows what a Prometheus holds: set ui.prometheusUrl, such as http://prometheus-operated.observability:9090; each agent serves the page of its own node without it" }}
{{- end }}
{{- if and .credentials.files (not .credentials.secret) }}
{{- fail "ui.credentials.files names keys of ui.credentials.secret, which is empty" }}
{{- end }}
{{- end }}
{{- if and .Values.store.hostPath (not .Values.store.enabled) }}
{{- fail "store.hostPath is for store.enabled=true" }}
{{- end }}
{{- if and .Values.store.hostPath (ne .Values.variant "bpf") }}
{{- fail "store.hostPath: the unprivileged agent cannot write a directory of the node, which belongs to root: leave it out, and the history ends with the pod" }}
{{- end }}
{{- end }}
