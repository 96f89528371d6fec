import './parts.css';

interface Props {
  share: number | null; // of the whole, 0 to 1; null: not known
  idle?: number; // of the share, what is idle: drawn lighter
  estimated?: boolean; // drawn hatched
  color?: string; // a CSS colour; the accent, if none is given
}

const width = (ratio: number): { width: string } => ({ width: `${Math.min(Math.max(ratio, 0), 1) * 100}%` });

// Bar draws a share as a length, beside a figure that says the same: it is
// nothing to a screen reader.
export function Bar({ share, idle = 0, estimated = false, color }: Props) {
  const all = share !== null && Number.isFinite(share) ? share : 0;
  return (
    <span class={`bar${estimated ? ' estimated' : ''}`} aria-hidden="true" {...(color ? { style: { color } } : {})}>
      <span class="bar-fill" style={width(all - Math.min(idle, all))} />
      {idle > 0 && <span class="bar-fill idle" style={width(Math.min(idle, all))} />}
    </span>
  );
}
