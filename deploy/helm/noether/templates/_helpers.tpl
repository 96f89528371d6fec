{{- define "noether.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* At most 40 characters, so that the names made of it are valid too. */}}
{{- define "noether.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "noether.name" .) .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name (include "noether.name" .) | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "noether.serviceAccountName" -}}
{{ default (ternary (include "noether.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{- define "noether.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* What all objects of a release have in common. */}}
{{- define "noether.base" -}}
app.kubernetes.io/name: {{ include "noether.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The agent's pods, and neither Jobs nor tests. */}}
{{- define "noether.selector" -}}
{{ include "noether.base" . }}
app.kubernetes.io/component: agent
{{- end }}

{{- define "noether.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "noether.base" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Of a CronJob: Kubernetes appends 11 characters to it, of 63. */}}
{{- define "noether.jobName" -}}
{{ printf "%s-%s" (include "noether.fullname" .root | trunc 28 | trimSuffix "-") .name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* The kubelet's certificate authority is one of three, or the cluster's own. */}}
{{- define "noether.kubeletCA" -}}
{{- with .Values.kubernetes.kubelet.ca -}}
{{- if or .configMap .secret -}}
/etc/noether/kubelet-ca/{{ .key }}
{{- else if .hostPath -}}
/etc/noether/kubelet-ca.crt
{{- else -}}
/var/run/secrets/kubernetes.io/serviceaccount/ca.crt
{{- end -}}
{{- end -}}
{{- end }}

{{- define "noether.scheme" -}}
{{ ternary "https" "http" .Values.web.tls.enabled }}
{{- end }}

{{- define "noether.serverName" -}}
{{ default (printf "%s.%s.svc" (include "noether.fullname" .) .Release.Namespace) .Values.web.tls.serverName }}
{{- end }}

{{/* A probe: where there is basic auth, the kubelet has no password to show, and opens the port. */}}
{{- define "noether.probe" -}}
{{- if .root.Values.web.basicAuth.enabled -}}
tcpSocket:
  port: metrics
{{- else -}}
httpGet:
  path: {{ .path }}
  port: metrics
  {{- if .root.Values.web.tls.enabled }}
  scheme: HTTPS
  {{- end }}
{{- end }}
{{ toYaml .fields }}
{{- end }}

{{/*
The endpoint of a monitor. The operator puts its own relabelings first, these
follow, and the user's come last: what it sets of the agent's own pod is
dropped, so that no series that lacks a pod is given the agent's.
*/}}
{{- define "noether.endpoint" -}}
{{- $monitor := .monitor }}
{{- with .root }}
port: metrics
path: /metrics
scheme: {{ include "noether.scheme" . }}
honorLabels: {{ $monitor.honorLabels }}
{{- with $monitor.interval }}
interval: {{ . }}
{{- end }}
{{- with $monitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- if $monitor.tlsConfig }}
tlsConfig:
  {{- toYaml $monitor.tlsConfig | nindent 2 }}
{{- else if .Values.web.tls.enabled }}
tlsConfig:
  serverName: {{ include "noether.serverName" . }}
  {{- with .Values.web.tls.caSecret }}
  ca:
    secret:
      name: {{ . }}
      key: {{ $.root.Values.web.tls.caKey }}
  {{- end }}
{{- end }}
{{- with .Values.web.basicAuth }}
{{- if .enabled }}
basicAuth:
  username:
    name: {{ required "web.basicAuth.secret is needed by the monitors: the Secret with the user's name and password" .secret }}
    key: {{ .usernameKey }}
  password:
    name: {{ .secret }}
    key: {{ .passwordKey }}
{{- end }}
{{- end }}
relabelings:
  - action: labeldrop
    regex: pod|container|namespace|service|endpoint
  - action: replace
    sourceLabels: [__meta_kubernetes_pod_node_name]
    targetLabel: node
  - action: replace
    sourceLabels: [__meta_kubernetes_pod_node_name]
    targetLabel: instance
  {{- with $monitor.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $monitor.endpoint }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}

{{/* Mistakes that a schema cannot see. */}}
{{- define "noether.check" -}}
{{- $v := .Values }}
{{- range $key := list "root" "listen" "node-name" "kube-source" "kube-pod-labels" "kube-kubelet-url" "kube-kubelet-ca" "web.config-file" }}
{{- if hasKey $v.config $key }}
{{- fail (printf "config has %q, which the chart sets itself: use the values port, kubernetes or web, or a later flag in extraArgs" $key) }}
{{- end }}
{{- end }}
{{- if dig "web" "config-file" "" $v.config }}
{{- fail "config has web.config-file, which the chart sets itself: use the value web.configSecret" }}
{{- end }}
{{- range $key, $_ := $v.config }}
{{- if eq (splitList "." $key | first) "redfish" }}
{{- fail (printf "config has %q: use the values redfish, which mount the account, too" $key) }}
{{- end }}
{{- end }}
{{- if and $v.redfish.url (not $v.redfish.secret) }}
{{- fail "redfish.url needs redfish.secret, with the account in its key: kubectl create secret generic NAME --from-literal=credentials=USER:PASSWORD" }}
{{- end }}
{{- if and $v.redfish.secret (not $v.redfish.url) }}
{{- fail "redfish.secret needs redfish.url, the address of the BMCs, such as https://{node}.bmc.example.org" }}
{{- end }}
{{- include "noether.checkCarbon" . }}
{{- include "noether.checkUI" . }}
{{- if and $v.serviceMonitor.enabled (not $v.service.enabled) }}
{{- fail "serviceMonitor.enabled needs service.enabled; podMonitor.enabled does without" }}
{{- end }}
{{- if and $v.serviceMonitor.enabled $v.podMonitor.enabled }}
{{- fail "serviceMonitor.enabled and podMonitor.enabled together would count every joule twice: choose one" }}
{{- end }}
{{- if and (or $v.web.tls.enabled $v.web.basicAuth.enabled) (not $v.web.configSecret) }}
{{- fail "web.tls.enabled and web.basicAuth.enabled say what is in the file of web.configSecret, which is empty" }}
{{- end }}
{{- $sources := 0 }}
{{- range list $v.kubernetes.kubelet.ca.configMap $v.kubernetes.kubelet.ca.secret $v.kubernetes.kubelet.ca.hostPath }}
{{- if . }}{{ $sources = add1 $sources }}{{ end }}
{{- end }}
{{- if gt (int $sources) 1 }}
{{- fail "kubernetes.kubelet.ca: give one of configMap, secret and hostPath" }}
{{- end }}
{{- if and (eq $v.seccompProfile.type "Localhost") (not $v.seccompProfile.localhostProfile) }}
{{- fail "seccompProfile.type Localhost needs seccompProfile.localhostProfile" }}
{{- end }}
{{- $names := dict }}
{{- range $v.impact.jobs }}
{{- $name := include "noether.jobName" (dict "root" $ "name" .name) }}
{{- if hasKey $names $name }}
{{- fail (printf "impact.jobs has two jobs called %s, of which 52 characters count" $name) }}
{{- end }}
{{- $_ := set $names $name true }}
{{- end }}
{{- if and $v.namespace.check (not $v.namespace.create) }}
{{- $ns := lookup "v1" "Namespace" "" .Release.Namespace }}
{{- if $ns }}
{{- $level := dig "metadata" "labels" "pod-security.kubernetes.io/enforce" "privileged" $ns }}
{{- if ne $level "privileged" }}
{{- fail (printf "namespace %s enforces the Pod Security level %q, which forbids the volumes hostPath that the agent measures by: kubectl label --overwrite namespace %s pod-security.kubernetes.io/enforce=privileged" .Release.Namespace $level .Release.Namespace) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
