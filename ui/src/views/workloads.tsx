import { Empty, Panel } from '../parts/Panel';

export function Workloads() {
  return (
    <Panel title="Workloads" name="workloads">
      <Empty>Not there yet.</Empty>
    </Panel>
  );
}
