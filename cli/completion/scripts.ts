/** Completion scripts of the shells: each asks `kubectl-vm __complete`. */
import { VmsteadError } from '../../crds/errors.ts';
import type { Invocation } from '../invocation.ts';

const SCRIPTS: Record<string, string> = {
  bash: `# bash completion of kubectl-vm: source <(kubectl vm completion bash)
# For \`kubectl vm <TAB>\` kubectl's own completion finds kubectl_complete-vm on the PATH.
_kubectl_vm() {
  local line lines
  COMPREPLY=()
  mapfile -t lines < <(kubectl-vm __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  for line in "\${lines[@]}"; do
    case $line in
      :0) mapfile -t COMPREPLY < <(compgen -f -- "\${COMP_WORDS[COMP_CWORD]}") ;;
      :*) ;;
      *) COMPREPLY+=("\${line%%$'\\t'*}") ;;
    esac
  done
}
complete -F _kubectl_vm kubectl-vm`,
  zsh: `#compdef kubectl-vm
# zsh completion of kubectl-vm: source <(kubectl vm completion zsh)
# For \`kubectl vm <TAB>\` kubectl's own completion finds kubectl_complete-vm on the PATH.
_kubectl_vm() {
  local line
  local -a names
  for line in "\${(@f)$(kubectl-vm __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    case $line in
      :0) _files; return ;;
      :*) ;;
      *) names+=("\${\${line//:/\\\\:}/$'\\t'/:}") ;;
    esac
  done
  _describe 'kubectl vm' names
}
compdef _kubectl_vm kubectl-vm`,
  fish: `# fish completion of kubectl-vm: kubectl vm completion fish | source
# For \`kubectl vm <TAB>\` kubectl's own completion finds kubectl_complete-vm on the PATH.
function __kubectl_vm_complete
    set -l words (commandline -opc) (commandline -ct)
    kubectl-vm __complete $words[2..-1] 2>/dev/null | string match -v -r '^:'
end
complete -c kubectl-vm -f -a '(__kubectl_vm_complete)'`,
};

export async function completion({ names: [shell = ''], io }: Invocation): Promise<void> {
  const script = SCRIPTS[shell];
  if (script === undefined) {
    throw new VmsteadError(
      'Usage',
      `there is no completion for ${JSON.stringify(shell)}; choose bash, zsh or fish`,
    );
  }
  io.print(script);
}
