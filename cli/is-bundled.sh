# Sourced, with $root set to the checkout: whether the bundle in dist/cli is newer than all that it is made of.
is_bundled() {
  [ -f "$root/dist/cli/kubectl-vm.mjs" ] && [ -z "$(find \
    "$root/cli" "$root/crds" "$root/operator" "$root/launcher" "$root/agent" "$root/package-lock.json" \
    -type f -newer "$root/dist/cli/kubectl-vm.mjs" -print -quit)" ]
}
