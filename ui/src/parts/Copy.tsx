import { useState } from 'preact/hooks';

// Copy is a command that can be taken along.
export function Copy({ text }: { text: string }) {
  const [said, say] = useState('copy');
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      say('copied');
    } catch {
      say('select it by hand');
    }
    setTimeout(() => say('copy'), 2500);
  };
  return (
    <span class="copy">
      <code>{text}</code>
      <button type="button" class="quiet" onClick={() => void copy()} aria-label={`Copy: ${text}`}>
        <span aria-live="polite">{said}</span>
      </button>
    </span>
  );
}
