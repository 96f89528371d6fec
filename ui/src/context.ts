import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { Now } from './lib/now';
import type { Scope } from './lib/queries';
import type { Route } from './lib/route';
import type { Span } from './lib/range';

// Shared is what every view is given: the scope of its queries, the URL, and
// how to change the span.
export interface Shared extends Scope {
  route: Route;
  span: Span;
  setSpan: (span: Span) => void;
  now: Now | undefined; // the newest figures, whatever the span; not there until they are known
  round: number; // counts the refreshes that people asked for
}

export const SharedContext = createContext<Shared | null>(null);

export function useShared(): Shared {
  const shared = useContext(SharedContext);
  if (!shared) throw new Error('a view stands outside the page');
  return shared;
}

// scopeKey changes exactly when an answer of the scope's queries may change.
export const scopeKey = (s: Scope & { round?: number }): string => `${s.range.start}/${s.range.end}/${s.range.step}/${s.node}/${s.round ?? 0}`;
