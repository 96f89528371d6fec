import './parts.css';
import { date } from '../lib/format';

interface Props {
  days: { start: number; value: number; whole: boolean }[];
  format: (value: number) => string;
}

// Days draws a bar a day; days of which only a part is in the range are hatched.
export function Days({ days, format }: Props) {
  const max = days.reduce((m, d) => Math.max(m, d.value), 0);
  return (
    <ol class={`days${days.length > 16 ? ' many' : ''}`}>
      {days.map((d) => (
        <li key={d.start} title={`${date(d.start)}: ${format(d.value)}${d.whole ? '' : ', a part of the day'}`}>
          <span class="days-value">{format(d.value)}</span>
          <span class="days-bar" aria-hidden="true">
            <span class={d.whole ? '' : 'part'} style={{ height: `${max > 0 ? (d.value / max) * 100 : 0}%` }} />
          </span>
          <span class="days-date">
            {date(d.start)}
            {!d.whole && <span class="sr"> (a part of the day)</span>}
          </span>
        </li>
      ))}
    </ol>
  );
}
