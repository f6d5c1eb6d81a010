{{- /*
Whether nodes can mount image volumes, in which VMs have disks and kernels: what lacks in a node's status.nodeInfo,
or nothing. A runtime whose version cannot be read is left to its administrator.
*/ -}}
{{- define "vmstead.lacks" -}}
{{- $lacks := list -}}
{{- $runtime := splitn "://" 2 .containerRuntimeVersion -}}
{{- $least := get (dict "containerd" "2.1.0-0" "cri-o" "1.31.0-0") $runtime._0 -}}
{{- $version := "^v?[0-9]+\\.[0-9]+\\.[0-9]+" -}}
{{- if and $least (regexMatch $version $runtime._1) -}}
{{- if semverCompare (printf "<%s" $least) (regexFind $version $runtime._1) -}}
{{- $lacks = append $lacks (printf "%s %s" $runtime._0 (trimPrefix "v" $runtime._1)) -}}
{{- end -}}
{{- end -}}
{{- if regexMatch $version .kubeletVersion -}}
{{- if semverCompare "<1.35.0-0" (regexFind $version .kubeletVersion) -}}
{{- $lacks = append $lacks (printf "kubelet %s" (trimPrefix "v" .kubeletVersion)) -}}
{{- end -}}
{{- end -}}
{{- join " and " $lacks -}}
{{- end }}

{{- /* JSON: how many nodes a VM could run on by their platform, and those of them that lack something, in words. */ -}}
{{- define "vmstead.nodes" -}}
{{- $unfit := list -}}
{{- $all := 0 -}}
{{- if .Values.checkNodes -}}
{{- range $node := (lookup "v1" "Node" "" "").items -}}
{{- with $node.status.nodeInfo -}}
{{- if and (eq .operatingSystem "linux") (eq .architecture "amd64") -}}
{{- $all = add $all 1 -}}
{{- with include "vmstead.lacks" . -}}
{{- $unfit = append $unfit (printf "%s has %s" $node.metadata.name .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- dict "all" $all "unfit" $unfit | toJson -}}
{{- end }}

{{- define "vmstead.nodesNeed" -}}
containerd 2.1 or newer (or CRI-O 1.31) and kubelet 1.35 or newer
{{- end }}
