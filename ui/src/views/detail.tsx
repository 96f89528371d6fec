import { Empty, Panel } from '../parts/Panel';

export function Detail() {
  return (
    <Panel title="Detail" name="detail">
      <Empty>Not there yet.</Empty>
    </Panel>
  );
}
