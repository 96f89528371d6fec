import { Component, type ComponentChildren } from 'preact';
import type { ApiError } from '../lib/api';
import { save, type Table } from '../lib/download';

interface Props {
  title: string;
  name: string; // of the files
  // table is what is shown, as rows; without it nothing can be downloaded.
  table?: (() => Table) | undefined;
  error?: ApiError | undefined;
  loading?: boolean;
  actions?: ComponentChildren;
  note?: ComponentChildren;
  class?: string;
  children?: ComponentChildren;
}

// Panel is one section of a view. A fault inside it stays inside it.
export class Panel extends Component<Props, { fault: string | null }> {
  override state = { fault: null as string | null };

  static override getDerivedStateFromError(e: unknown): { fault: string } {
    return { fault: e instanceof Error ? e.message : String(e) };
  }

  override render() {
    const { title, name, table, error, loading, actions, note, children } = this.props;
    const id = `panel-${name}`;
    return (
      <section class={`panel ${this.props.class ?? ''}`} aria-labelledby={id} aria-busy={loading ? 'true' : 'false'} data-panel={name}>
        <header>
          <h2 id={id}>{title}</h2>
          <div class="actions">
            {actions}
            {table && (
              <>
                <button type="button" class="quiet" onClick={() => save(name, 'csv', table())} aria-label={`Download ${title} as CSV`}>
                  CSV
                </button>
                <button type="button" class="quiet" onClick={() => save(name, 'json', table())} aria-label={`Download ${title} as JSON`}>
                  JSON
                </button>
              </>
            )}
          </div>
        </header>
        {error && <Trouble error={error} />}
        {this.state.fault ? <p class="trouble" role="alert">This part of the page failed: {this.state.fault}</p> : children}
        {note && <p class="note">{note}</p>}
      </section>
    );
  }
}

// Trouble says in place what went wrong; it is text, whatever it holds.
export function Trouble({ error }: { error: ApiError }) {
  return (
    <p class={`trouble ${error.kind}`} role="alert">
      {error.message}
    </p>
  );
}

// Empty says why there is nothing, and what to do.
export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}
