import { Empty, Panel } from '../parts/Panel';

export function Carbon() {
  return (
    <Panel title="Carbon" name="carbon">
      <Empty>Not there yet.</Empty>
    </Panel>
  );
}
