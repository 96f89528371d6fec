// useData runs a loader again whenever its key changes, aborts the one before,
// and keeps the last answer on the screen meanwhile. While nobody answers, or
// the history is still being opened, it tries again by itself.
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError } from './api';

export interface Data<T> {
  value: T | undefined;
  error: ApiError | undefined; // of the newest try; value may be an older one's
  loading: boolean;
}

// loads counts the loaders that run: a refresh waits until there is none.
export const loads = { running: 0 };

const longest = 15_000;

// again is after how many milliseconds a loader is tried again that failed so
// many times in a row; null if another try would end alike.
export function again(error: ApiError, failed: number): number | null {
  if (error.kind !== 'network' && error.kind !== 'unavailable') return null;
  return Math.min(2000 * 2 ** (failed - 1), longest);
}

export function useData<T>(key: string, load: (signal: AbortSignal) => Promise<T>): Data<T> {
  const [state, set] = useState<Data<T>>({ value: undefined, error: undefined, loading: true });
  const loader = useRef(load);
  loader.current = load;
  useEffect(() => {
    const abort = new AbortController();
    let timer = 0;
    let failed = 0;
    const run = async () => {
      loads.running++;
      set((s) => ({ ...s, loading: true }));
      try {
        const value = await loader.current(abort.signal);
        if (!abort.signal.aborted) set({ value, error: undefined, loading: false });
      } catch (e) {
        if (abort.signal.aborted) return;
        const error = e instanceof ApiError ? e : new ApiError('other', String(e));
        set((s) => ({ value: s.value, error, loading: false }));
        const wait = again(error, ++failed);
        if (wait !== null) timer = window.setTimeout(() => void run(), wait);
      } finally {
        loads.running--;
      }
    };
    void run();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [key]);
  return state;
}
