// useData runs a loader again whenever its key changes, aborts the one before,
// and keeps the last answer on the screen meanwhile.
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError } from './api';

export interface Data<T> {
  value: T | undefined;
  error: ApiError | undefined; // of the newest try; value may be an older one's
  loading: boolean;
}

export function useData<T>(key: string, load: (signal: AbortSignal) => Promise<T>): Data<T> {
  const [state, set] = useState<Data<T>>({ value: undefined, error: undefined, loading: true });
  const loader = useRef(load);
  loader.current = load;
  useEffect(() => {
    const abort = new AbortController();
    set((s) => ({ ...s, loading: true }));
    loader.current(abort.signal).then(
      (value) => {
        if (!abort.signal.aborted) set({ value, error: undefined, loading: false });
      },
      (e: unknown) => {
        if (abort.signal.aborted) return;
        set((s) => ({ value: s.value, error: e instanceof ApiError ? e : new ApiError('other', String(e)), loading: false }));
      },
    );
    return () => abort.abort();
  }, [key]);
  return state;
}
