import './parts.css';
import { about } from '../lib/format';

interface Props {
  value: number | null | undefined; // null or nothing: not known
  format: (value: number) => string; // with the unit
  estimated?: boolean; // it gets a tilde, and says so
  low?: number | null | undefined; // least and greatest plausible value
  high?: number | null | undefined;
  exact?: (value: number) => string; // for the tooltip: every digit
}

// Figure is one number for people: three digits, a tilde if nobody measured
// it, its band, and every digit in the tooltip. What is not known is a dash.
export function Figure({ value, format, estimated = false, low, high, exact = (v) => String(v) }: Props) {
  if (value === null || value === undefined || !Number.isFinite(value)) {
    return (
      <span class="figure unknown" title="not known">
        <span aria-hidden="true">–</span>
        <span class="sr">not known</span>
      </span>
    );
  }
  const banded = typeof low === 'number' && typeof high === 'number' && low < high;
  const title = [exact(value), estimated ? 'estimated' : '', banded ? `between ${format(low)} and ${format(high)}` : ''].filter(Boolean).join(', ');
  return (
    <span class={`figure${estimated ? ' estimated' : ''}`} title={title}>
      {estimated && <span class="sr">about </span>}
      <span>{about(format(value), estimated)}</span>
      {banded && (
        <span class="band">
          {format(low)} – {format(high)}
        </span>
      )}
    </span>
  );
}
