import { Empty, Panel } from '../parts/Panel';

export function Health() {
  return (
    <Panel title="Health" name="health">
      <Empty>Not there yet.</Empty>
    </Panel>
  );
}
