{{/* Name of what belongs to the hub. */}}
{{- define "noether.hub" -}}
{{ include "noether.fullname" . }}-carbon
{{- end }}

{{- define "noether.hubSelector" -}}
{{ include "noether.base" . }}
app.kubernetes.io/component: carbon
{{- end }}

{{/* Where agents read the carbon intensity, if not from the providers. */}}
{{- define "noether.hubURL" -}}
{{- if .Values.carbon.hub.enabled -}}
http://{{ include "noether.hub" . }}.{{ .Release.Namespace }}.svc:{{ .Values.carbon.hub.port }}
{{- else -}}
{{ .Values.carbon.hub.url }}
{{- end -}}
{{- end }}

{{/* Arguments of whoever asks the providers: the hub, or each agent. */}}
{{- define "noether.providers" -}}
{{- with .Values.carbon }}
{{- range .providers }}
- --grid.provider={{ . }}
{{- end }}
{{- if not .allowEstimates }}
- --grid.allow-estimates=false
{{- end }}
{{- with .query }}
- {{ printf "--grid.query=%s" . | quote }}
{{- end }}
{{- range $provider, $key := .tokens.keys }}
- --grid.token-file={{ $provider }}=/etc/noether/tokens/{{ $key }}
{{- end }}
{{- end }}
{{- end }}

{{/* What the agent asks the Prometheus of carbon.prometheusUrl for. */}}
{{- define "noether.queries" -}}
{{- $v := .Values.carbon }}
{{- if or (hasPrefix "query:" (toString $v.pue)) (hasPrefix "query:" (toString $v.price.perKwh)) (and $v.query (not (include "noether.hubURL" .))) }}yes{{ end }}
{{- end }}

{{/* Arguments of the agent; what is the agent's own default is left out. */}}
{{- define "noether.carbonArgs" -}}
{{- $hub := include "noether.hubURL" . }}
{{- with .Values.carbon }}
{{- if ne .zone "auto" }}
- --grid.zone={{ .zone }}
{{- end }}
{{- if $hub }}
- --grid.hub={{ $hub }}
{{- else }}
{{- include "noether.providers" $ }}
{{- end }}
{{- if ne .factor "lifecycle" }}
- --grid.factor={{ .factor }}
{{- end }}
{{- if include "noether.queries" $ }}
- {{ printf "--prometheus-url=%s" .prometheusUrl | quote }}
{{- end }}
{{- if ne (toString .pue) "1" }}
- {{ printf "--pue=%v" .pue | quote }}
{{- end }}
{{- if ne (toString .embodied.kg) "auto" }}
- {{ printf "--embodied.kg=%v" .embodied.kg | quote }}
{{- end }}
{{- with .embodied.instance }}
- --embodied.instance={{ . }}
{{- end }}
{{- if ne (toString .embodied.years) "4" }}
- {{ printf "--embodied.years=%v" .embodied.years | quote }}
{{- end }}
{{- with .serverOverhead }}
- {{ printf "--server-overhead=%s" . | quote }}
{{- end }}
{{- if ne (toString .networkKwhPerGb) "0" }}
- {{ printf "--network.kwh-per-gb=%v" .networkKwhPerGb | quote }}
{{- end }}
{{- if ne (toString .diskKwhPerGb) "0" }}
- {{ printf "--disk.kwh-per-gb=%v" .diskKwhPerGb | quote }}
{{- end }}
{{- if ne (toString .price.perKwh) "" }}
- {{ printf "--price.per-kwh=%v" .price.perKwh | quote }}
- --price.currency={{ .price.currency }}
{{- end }}
{{- end }}
{{- end }}

{{/* The zones of the hub: those that are listed, else that of the agents. */}}
{{- define "noether.hubZones" -}}
{{- toYaml (.Values.carbon.hub.zones | default (list .Values.carbon.zone)) }}
{{- end }}

{{/* Mistakes of the values carbon that a schema cannot see. */}}
{{- define "noether.checkCarbon" -}}
{{- $v := .Values.carbon }}
{{- range $key, $_ := .Values.config }}
{{- if has (splitList "." $key | first) (list "grid" "pue" "embodied" "price" "server-overhead" "network" "disk" "prometheus-url") }}
{{- fail (printf "config has %q: use the values carbon, which the hub and the checks see too" $key) }}
{{- end }}
{{- end }}
{{- if and $v.hub.enabled $v.hub.url }}
{{- fail "carbon.hub.enabled and carbon.hub.url: have a hub or name one" }}
{{- end }}
{{- if and (include "noether.hubURL" .) (eq $v.zone "auto") (ne .Values.kubernetes.source "api") }}
{{- fail (printf "carbon.hub: with kubernetes.source=%s nobody tells the agents their region: set carbon.zone to the grid zone of the nodes, such as DE, or kubernetes.source=api" .Values.kubernetes.source) }}
{{- end }}
{{- if $v.hub.url }}
{{- if or $v.providers $v.tokens.secret $v.query }}
{{- fail "carbon.hub.url: the hub elsewhere asks its own providers: leave carbon.providers, carbon.query and carbon.tokens out here" }}
{{- end }}
{{- end }}
{{- if and (not $v.hub.enabled) (or $v.hub.configMap $v.hub.zones) }}
{{- fail "carbon.hub.zones and carbon.hub.configMap are the hub's: set carbon.hub.enabled=true" }}
{{- end }}
{{- if $v.hub.enabled }}
{{- $zones := include "noether.hubZones" . | fromYamlArray }}
{{- if has "auto" $zones }}
{{- fail "carbon.hub.zones: a hub is for zones that are named: set it to those of your nodes, such as {DE,FR} (kubectl get nodes -L topology.kubernetes.io/region shows their regions, noether carbon zones the zone of each)" }}
{{- end }}
{{- if and $v.hub.configMap (gt (len $zones) 1) }}
{{- fail (printf "carbon.hub.configMap holds the forecast of one zone, and carbon.hub.zones has %d: keep one, and install another release for the others" (len $zones)) }}
{{- end }}
{{- end }}
{{- if ne (not $v.tokens.secret) (not $v.tokens.keys) }}
{{- fail "carbon.tokens: secret and keys belong together: --set carbon.tokens.secret=NAME,carbon.tokens.keys.electricitymaps=KEY" }}
{{- end }}
{{- range list "electricitymaps" "entsoe" }}
{{- if and (has . $v.providers) (not (hasKey $v.tokens.keys .)) }}
{{- fail (printf "carbon.providers has %s, which wants a key: put it into a Secret and set carbon.tokens.secret=NAME,carbon.tokens.keys.%[1]s=KEY" .) }}
{{- end }}
{{- if and (hasKey $v.tokens.keys .) (not (has . $v.providers)) }}
{{- fail (printf "carbon.tokens.keys has a key of %s, which carbon.providers does not ask: add it there, or leave the key out" .) }}
{{- end }}
{{- end }}
{{- if ne (not $v.query) (not (has "prometheus" $v.providers)) }}
{{- fail "carbon.query is for the provider prometheus: give both, or none" }}
{{- end }}
{{- if and (or $v.query (include "noether.queries" .)) (not $v.prometheusUrl) }}
{{- fail "carbon: a query needs carbon.prometheusUrl, such as http://prometheus-operated.observability:9090" }}
{{- end }}
{{- $life := list }}{{ $direct := list }}
{{- range $v.providers }}
{{- if has . (list "energy-charts" "yearly") }}{{ $life = append $life . }}{{ end }}
{{- if has . (list "neso" "rte") }}{{ $direct = append $direct . }}{{ end }}
{{- end }}
{{- if and $life (or $direct (ne $v.factor "lifecycle")) }}
{{- fail (printf "carbon.providers: %s tells lifecycle emissions: leave out %s, with carbon.factor=lifecycle" (join " and " $life) ($direct | default (list "other kinds") | join " and ")) }}
{{- end }}
{{- if and $direct (ne $v.factor "direct") }}
{{- fail (printf "carbon.providers: %s tells direct emissions only: set carbon.factor=direct" (join " and " $direct)) }}
{{- end }}
{{- if and .Values.networkPolicy.enabled .Values.networkPolicy.egress (not .Values.networkPolicy.extraEgress) }}
{{- if $v.hub.url }}
{{- fail "networkPolicy.egress keeps the agents from the hub of carbon.hub.url: allow it in networkPolicy.extraEgress" }}
{{- end }}
{{- if and (include "noether.asksAbroad" .) (not $v.hub.enabled) }}
{{- fail "networkPolicy.egress keeps the agents from the providers of carbon.providers: let one pod ask them with carbon.hub.enabled=true, or allow them in networkPolicy.extraEgress" }}
{{- end }}
{{- if include "noether.queries" . }}
{{- fail "networkPolicy.egress keeps the agents from carbon.prometheusUrl: allow it in networkPolicy.extraEgress" }}
{{- end }}
{{- end }}
{{- if and .Values.networkPolicy.enabled $v.hub.enabled (has "prometheus" $v.providers) (not $v.hub.extraEgress) }}
{{- fail "networkPolicy.enabled keeps the hub from carbon.prometheusUrl: allow it in carbon.hub.extraEgress" }}
{{- end }}
{{- end }}

{{/* Whether a provider is on the internet. */}}
{{- define "noether.asksAbroad" -}}
{{- range .Values.carbon.providers }}
{{- if has . (list "electricitymaps" "energy-charts" "entsoe" "neso" "rte") }}yes{{ end }}
{{- end }}
{{- end }}

{{/*
A monitor of the hub, as the agents' are but for what is about TLS, passwords
and nodes: its series are of grid zones, and its job is another one, since rules
count agents by theirs.
*/}}
{{- define "noether.hubMonitor" -}}
{{- $m := .monitor }}
{{- $name := include "noether.hub" .root }}
apiVersion: monitoring.coreos.com/v1
kind: {{ .kind }}
metadata:
  name: {{ $name }}
  namespace: {{ $m.namespace | default .root.Release.Namespace }}
  labels:
    {{- merge (deepCopy $m.labels) (include "noether.labels" .root | fromYaml) (dict "app.kubernetes.io/component" "carbon") | toYaml | nindent 4 }}
  {{- with $m.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  namespaceSelector:
    matchNames: [{{ .root.Release.Namespace }}]
  selector:
    matchLabels:
      {{- include "noether.hubSelector" .root | nindent 6 }}
  {{ .endpoints }}:
    - port: metrics
      path: /metrics
      honorLabels: {{ $m.honorLabels }}
      {{- with $m.interval }}
      interval: {{ . }}
      {{- end }}
      {{- with $m.scrapeTimeout }}
      scrapeTimeout: {{ . }}
      {{- end }}
      relabelings:
        - action: labeldrop
          regex: pod|container|namespace|service|endpoint
        - action: replace
          targetLabel: job
          replacement: {{ include "noether.name" .root }}-carbon
        - action: replace
          targetLabel: instance
          replacement: {{ $name }}.{{ .root.Release.Namespace }}
        {{- with $m.relabelings }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end }}
