import { useMemo } from 'preact/hooks';
import { scopeKey, useShared } from '../context';
import { queryRange } from '../lib/api';
import { useData } from '../lib/data';
import { watts } from '../lib/format';
import { node } from '../lib/queries';
import { Chart, type Line } from '../parts/Chart';
import { Panel } from '../parts/Panel';

export function Overview() {
  const s = useShared();
  const { range } = s;
  const power = useData(`power ${scopeKey(s)}`, (signal) => queryRange(node.history(s), range.start, range.end, range.step, signal));
  const lines = useMemo<Line[]>(() => (power.value ?? []).map((x) => ({ name: x.labels.component ?? '', points: x.points })), [power.value]);
  return (
    <Panel title="Power by component" name="power" error={power.error} loading={power.loading}>
      <Chart label="Power by component over time" lines={lines} start={range.start} end={range.end} step={range.step} stacked format={watts} onSelect={(a, b) => s.setSpan({ seconds: Math.max(60, Math.round(b - a)), end: b })} />
    </Panel>
  );
}
