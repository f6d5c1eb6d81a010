/**
 * The agent's metrics in Prometheus' text format, by hand: prom-client would take memory on every node for six
 * figures. Source: https://prometheus.io/docs/instrumenting/exposition_formats/
 */
export interface AgentState {
  usable: boolean;
  instructionsPerSecond: number;
  minimumInstructionsPerSecond: number;
  registered: boolean;
  registrations: number;
  slots: number;
  version: string;
}

function metric(name: string, type: 'gauge' | 'counter', help: string, value: number, labels = ''): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${name}${labels} ${value}\n`;
}

export function renderMetrics(state: AgentState): string {
  return [
    metric('vmstead_agent_info', 'gauge', 'Version of the agent.', 1, `{version="${state.version}"}`),
    metric(
      'vmstead_agent_kvm_usable',
      'gauge',
      'Whether KVM was proved to work on this node, and is offered to VMs.',
      Number(state.usable),
    ),
    metric(
      'vmstead_agent_kvm_instructions_per_second',
      'gauge',
      'Instructions a second that a guest executed in kernel mode at the last proof; 0 without KVM.',
      state.instructionsPerSecond,
    ),
    metric(
      'vmstead_agent_kvm_minimum_instructions_per_second',
      'gauge',
      'Threshold below which KVM counts as absent on this node.',
      state.minimumInstructionsPerSecond,
    ),
    metric('vmstead_agent_kvm_slots', 'gauge', 'VMs with KVM that this node may run.', state.slots),
    metric(
      'vmstead_agent_registered',
      'gauge',
      'Whether the running kubelet knows the device plugin.',
      Number(state.registered),
    ),
    metric(
      'vmstead_agent_registrations_total',
      'counter',
      'Registrations of the device plugin; each restart of the kubelet adds one.',
      state.registrations,
    ),
  ].join('');
}
