import { useEffect, useRef } from 'preact/hooks';

interface Props {
  open: boolean;
  keys: readonly (readonly [key: string, what: string])[];
  on: boolean; // single keys do something
  version: string;
  onKeys: (on: boolean) => void;
  onClose: () => void;
}

// Help lists the keys. Single keys can be turned off, for those whom speech
// input or a restless hand would surprise (WCAG 2.1, 2.1.4).
export function Help({ open, keys, on, version, onKeys, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open]);
  return (
    <dialog ref={dialog} class="help" aria-labelledby="help-title" onClose={onClose} onClick={(e) => e.target === dialog.current && onClose()}>
      <div>
        <h2 id="help-title">Keys</h2>
        <dl>
          {keys.map(([key, what]) => (
            <div key={key}>
              <dt>
                <kbd>{key}</kbd>
              </dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
        <label>
          <input type="checkbox" checked={on} onChange={(e) => onKeys(e.currentTarget.checked)} /> single keys work
        </label>
        <p class="note">Drag over a chart to look closer. Every view is a link: what the address bar shows can be sent. Figures with a ~ are estimates, a – is something nobody knows.</p>
        <p class="note">Noether {version}</p>
        <button type="button" class="primary" onClick={onClose}>
          Close
        </button>
      </div>
    </dialog>
  );
}
