// Whom the page talks to: what the server says of itself, whether it is there,
// and how far its clock is from the browser's.
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, pageInfo } from './api';
import type { PageInfo } from './types';

export interface Server {
  info: PageInfo | undefined; // the newest that was heard
  first: string | undefined; // the version that served this page
  error: ApiError | undefined; // of the newest try
  away: boolean; // it was there, and is not now
  skew: number; // seconds to add to the browser's clock
}

const calm = 15_000; // between two questions while all is well

// wait is the time until the next try after so many that failed, in milliseconds.
export const wait = (failed: number): number => (failed === 0 ? calm : Math.min(1000 * 2 ** (failed - 1), calm));

// skewOf compares the server's clock with the middle of the request, in seconds.
// The time of the way there and back is not known better than that.
export const skewOf = (server: number, sent: number, received: number): number => server - (sent + received) / 2;

// useServer asks again and again, also after the server was away.
export function useServer(): Server {
  const [state, set] = useState<Server>({ info: undefined, first: undefined, error: undefined, away: false, skew: 0 });
  const failed = useRef(0);
  useEffect(() => {
    const abort = new AbortController();
    let timer = 0;
    const ask = async () => {
      const sent = Date.now() / 1000;
      try {
        const info = await pageInfo(abort.signal);
        const skew = skewOf(info.now, sent, Date.now() / 1000);
        failed.current = 0;
        // A skew that only jitters stays what it was: times would jump for nothing.
        set((s) => ({ info, first: s.first ?? info.version, error: undefined, away: false, skew: s.info && Math.abs(skew - s.skew) < 1 ? s.skew : skew }));
      } catch (e) {
        if (abort.signal.aborted) return;
        failed.current++;
        const error = e instanceof ApiError ? e : new ApiError('other', String(e));
        set((s) => ({ ...s, error, away: s.info !== undefined }));
      }
      timer = window.setTimeout(() => void ask(), wait(failed.current));
    };
    void ask();
    const online = () => {
      clearTimeout(timer);
      void ask();
    };
    addEventListener('online', online);
    return () => {
      abort.abort();
      clearTimeout(timer);
      removeEventListener('online', online);
    };
  }, []);
  return state;
}
