import { Empty, Panel } from '../parts/Panel';

export function Compare() {
  return (
    <Panel title="Compare" name="compare">
      <Empty>Not there yet.</Empty>
    </Panel>
  );
}
