import { Empty, Panel } from '../parts/Panel';

export function Flow() {
  return (
    <Panel title="Flow" name="flow">
      <Empty>Not there yet.</Empty>
    </Panel>
  );
}
