import { useEffect, useRef, useState } from 'preact/hooks';
import { presets, formatDuration, type Range, type Span } from '../lib/range';
import { back, between, formatRefresh, forward, fromLocal, local, refreshes, spanName, wider } from '../lib/time';

interface Props {
  span: Span;
  range: Range;
  now: number; // by the server's clock
  refresh: number; // seconds; 0 is off
  oldest: number | null; // before which nothing is kept
  onSpan: (span: Span) => void;
  onRefresh: (seconds: number) => void;
  onAgain: () => void;
}

// TimePicker chooses the span of every figure of a view, and how often it moves on.
export function TimePicker({ span, range, now, refresh, oldest, onSpan, onRefresh, onAgain }: Props) {
  const [open, setOpen] = useState(false);
  const [from, setFrom] = useState('');
  const [to, setTo] = useState('');
  const [wrong, setWrong] = useState('');
  const box = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!open) return;
    setFrom(local(range.start));
    setTo(local(range.end));
    setWrong('');
    box.current?.querySelector<HTMLElement>('[aria-pressed=true], button')?.focus();
    const outside = (e: Event) => {
      if (e.target instanceof Node && !box.current?.contains(e.target) && !button.current?.contains(e.target)) setOpen(false);
    };
    addEventListener('pointerdown', outside);
    return () => removeEventListener('pointerdown', outside);
  }, [open]);
  const close = () => {
    setOpen(false);
    button.current?.focus();
  };
  const choose = (to: Span) => {
    onSpan(to);
    close();
  };
  const custom = (e: Event) => {
    e.preventDefault();
    const chosen = between(fromLocal(from), fromLocal(to), now);
    if (!chosen) setWrong('Give two times that are at least a minute apart, the first of them in the past.');
    else choose(chosen);
  };
  const preset = span.end === null ? presets.find((p) => p === formatDuration(span.seconds) || (p === '24h' && span.seconds === 86400)) : undefined;
  return (
    <div class="time" role="group" aria-label="Time">
      <button type="button" title="Back by the length of the range ( [ )" aria-label="Back by the length of the range" onClick={() => onSpan(back(span, now))}>
        ‹
      </button>
      <button ref={button} type="button" class="time-span" aria-haspopup="dialog" aria-expanded={open ? 'true' : 'false'} onClick={() => setOpen(!open)}>
        {spanName(span, preset ?? formatDuration(span.seconds))}
      </button>
      <button type="button" title="Forward by the length of the range ( ] )" aria-label="Forward by the length of the range" disabled={span.end === null} onClick={() => onSpan(forward(span, now))}>
        ›
      </button>
      <button type="button" class="wide" title="Twice the range ( - )" aria-label="Twice the range" onClick={() => onSpan(wider(span, now))}>
        −
      </button>
      {span.end !== null && (
        <button type="button" title="Up to now ( n )" onClick={() => onSpan({ seconds: span.seconds, end: null })}>
          now
        </button>
      )}
      <button type="button" class="time-refresh" title={range.live ? 'Refresh ( r )' : 'Refresh ( r ); a range in the past does not move on by itself'} onClick={onAgain}>
        <span class="sr">Refresh now</span>
        <span aria-hidden="true">
          ↻<span class="wide"> {range.live ? formatRefresh(refresh) : 'off'}</span>
        </span>
      </button>
      {open && (
        <div
          class="popover"
          ref={box}
          role="dialog"
          aria-label="Time range"
          onKeyDown={(e) => {
            if (e.key !== 'Escape') return;
            e.stopPropagation();
            close();
          }}
        >
          <fieldset>
            <legend>Up to now</legend>
            <div class="choices">
              {presets.map((p) => (
                <button type="button" key={p} aria-pressed={p === preset ? 'true' : 'false'} onClick={() => choose({ seconds: { '15m': 900, '1h': 3600, '6h': 21600, '24h': 86400, '7d': 604800, '15d': 1296000 }[p], end: null })}>
                  {p}
                </button>
              ))}
            </div>
          </fieldset>
          <form onSubmit={custom}>
            <fieldset>
              <legend>From – to, in the time zone of this browser</legend>
              <label>
                From
                <input type="datetime-local" step="1" required value={from} onInput={(e) => setFrom(e.currentTarget.value)} aria-describedby={wrong ? 'time-wrong' : undefined} />
              </label>
              <label>
                To
                <input type="datetime-local" step="1" required value={to} onInput={(e) => setTo(e.currentTarget.value)} aria-describedby={wrong ? 'time-wrong' : undefined} />
              </label>
              {wrong && (
                <p class="trouble" id="time-wrong" role="alert">
                  {wrong}
                </p>
              )}
              <button type="submit" class="primary">
                Show
              </button>
            </fieldset>
          </form>
          <fieldset>
            <legend>Refresh</legend>
            <div class="choices">
              {refreshes.map((r) => (
                <button type="button" key={r} aria-pressed={r === refresh ? 'true' : 'false'} onClick={() => onRefresh(r)}>
                  {formatRefresh(r)}
                </button>
              ))}
            </div>
          </fieldset>
          {oldest !== null && range.start < oldest && <p class="note">History is kept from {local(oldest).replace('T', ' ')} on.</p>}
        </div>
      )}
    </div>
  );
}
