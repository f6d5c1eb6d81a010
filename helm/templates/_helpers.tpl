{{- define "vmstead.labels" -}}
app.kubernetes.io/name: vmstead
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* Labels that select the pods of one part: dict "root" $ "part" "operator" */ -}}
{{- define "vmstead.selector" -}}
app.kubernetes.io/name: vmstead
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "vmstead.image" -}}
{{- $image := get .root.Values.images .part -}}
{{- required (printf "images.%s is not set: run \"npm run images -- --push REGISTRY\", which builds and pushes the images and says what to set" .part) $image -}}
{{- end }}

{{- define "vmstead.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
{{ toYaml . | indent 2 }}
{{- end }}
{{- end }}

{{- define "vmstead.restrictedPod" -}}
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "vmstead.restrictedContainer" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* Role and RoleBinding in the watched namespace, or ClusterRole and ClusterRoleBinding. */ -}}
{{- define "vmstead.scope" -}}
{{- if not .Values.watchNamespace }}Cluster{{ end }}
{{- end }}
