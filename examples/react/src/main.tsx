// A chat: conversations, one thread, write, edit, delete, read, page back, offline. `?relay=` and `?device=` choose the relay and the device.
import { StrictMode, useEffect, useRef, useState, type FormEvent } from 'react';
import { createRoot } from 'react-dom/client';
import { connect, type Message, type SolConnectSDK, type SyncError } from 'solconnect-sync';
import { useConversations, useMessages } from 'solconnect-sync/react';
import 'solconnect-sync/status';
import './chat.css';

const query = new URLSearchParams(location.search);
const config = { relayEndpoint: query.get('relay') ?? 'ws://localhost:8080', databaseName: query.get('device') ?? 'chat', domains: [location.host], wallet: 'local' as const };

/** The same field for a first address, a message and an edit. */
function Field({ name, action, initial = '', onSend }: { name: string; action: string; initial?: string; onSend: (text: string) => void }) {
  const [text, setText] = useState(initial);
  const send = (event: FormEvent) => {
    event.preventDefault();
    if (!text.trim()) return;
    onSend(text.trim());
    setText('');
  };
  return (
    <form onSubmit={send}>
      <input aria-label={name} placeholder={name} value={text} onChange={(event) => setText(event.target.value)} />
      <button>{action}</button>
    </form>
  );
}

function Item({ sdk, message, onEdit }: { sdk: SolConnectSDK; message: Message; onEdit: () => void }) {
  const { id, sessionId, senderWallet, isOwn, readBy, deleted, edited, pendingEdit, status, error, text } = message;
  const isFailed = status === 'failed';
  const readers = readBy && readBy.length > 0 && `read by ${readBy.length}`;
  return (
    <li className={isOwn ? 'own' : ''}>
      {!isOwn && <b>{senderWallet.slice(0, 4)} </b>}
      <span className="text">{deleted ? 'Deleted' : text}</span>{' '}
      <small title={error?.userMessage}>{[isOwn && status, readers, edited && !deleted && 'edited', pendingEdit && 'sending the change'].filter(Boolean).join(', ')}</small>
      {isOwn && !deleted && !isFailed && <button onClick={onEdit}>Edit</button>}
      {isOwn && !deleted && !isFailed && <button onClick={() => sdk.deleteMessage(sessionId, id)}>Delete</button>}
      {isFailed && <button onClick={() => sdk.retryMessage(id)}>Retry</button>}
      {(isFailed || status === 'queued') && <button onClick={() => sdk.cancelMessage(id)}>Cancel</button>}
    </li>
  );
}

function Thread({ sdk, sessionId }: { sdk: SolConnectSDK; sessionId: string }) {
  const { items, hasMore, isLoading, error, loadOlder } = useMessages(sdk, sessionId, { limit: 20 });
  const [editing, setEditing] = useState<Message | null>(null);
  const [problem, setProblem] = useState<SyncError>();
  const list = useRef<HTMLOListElement>(null);
  const last = items.at(-1)?.id;
  const lastForeign = items.findLast(({ isOwn }) => !isOwn)?.id;
  useEffect(() => void list.current?.lastElementChild?.scrollIntoView(), [last]);
  useEffect(() => {
    if (lastForeign) void sdk.markMessageAsRead(lastForeign);
  }, [sdk, lastForeign]);
  const send = async (text: string) => {
    setEditing(null);
    const sent = await (editing ? sdk.editMessage(sessionId, editing.id, text) : sdk.sendMessage(sessionId, text));
    setProblem(sent.error);
  };
  return (
    <section aria-label="Thread">
      {(problem ?? error) && <p role="alert">{(problem ?? error)?.userMessage}</p>}
      {hasMore && <button disabled={isLoading} onClick={() => void loadOlder()}>Older messages</button>}
      <ol ref={list} aria-label="Messages" aria-busy={isLoading}>
        {items.map((message) => <Item key={message.id} sdk={sdk} message={message} onEdit={() => setEditing(message)} />)}
      </ol>
      <Field key={editing?.id ?? ''} name="Message" action={editing ? 'Save' : 'Send'} initial={editing?.text ?? ''} onSend={(text) => void send(text)} />
    </section>
  );
}

function Chat({ sdk }: { sdk: SolConnectSDK }) {
  const { items } = useConversations(sdk);
  const [current, setCurrent] = useState<string | null>(null);
  const [problem, setProblem] = useState<SyncError>();
  // With one wallet, or a group of several with a name.
  const start = async (addresses: string) => {
    const members = addresses.split(/\s+/);
    const session = await sdk.startSession(members.length === 1 ? { peerWallet: addresses } : { members, name: prompt('Name of the group') ?? '' });
    setProblem(session.error);
    if (session.success) setCurrent(session.data.sessionId);
  };
  return (
    <div className="chat">
      <header>
        <output aria-label="My address">{sdk.getCurrentWallet().data}</output>
        <label><input type="checkbox" onChange={(event) => void sdk.setOffline(event.target.checked)} /> Offline</label>
        <solconnect-sync-status sdk={sdk} />
      </header>
      <nav>
        <Field name="Wallet address" action="Start" onSend={(address) => void start(address)} />
        {problem && <p role="alert">{problem.userMessage}</p>}
        <ul aria-label="Conversations">
          {items.map(({ sessionId, peerWallet, name, lastMessage, unreadCount, state, kind, membership }) => (
            <li key={sessionId}>
              <button aria-current={sessionId === current || undefined} disabled={state === 'invited'} onClick={() => setCurrent(sessionId)}>
                {name ?? peerWallet.slice(0, 8)} {unreadCount > 0 && <b>{unreadCount}</b>} {lastMessage?.text}
              </button>
              {state === 'invited' && <button onClick={() => sdk.acceptSession(sessionId)}>Accept</button>}
              {state === 'invited' && <button onClick={() => sdk.declineSession(sessionId)}>Decline</button>}
              {kind === 'group' && state !== 'invited' && membership === 'member' && <button onClick={() => sdk.leaveSession(sessionId)}>Leave</button>}
            </li>
          ))}
        </ul>
      </nav>
      {current && <Thread key={current} sdk={sdk} sessionId={current} />}
    </div>
  );
}

function App() {
  const [sdk, setSdk] = useState<SolConnectSDK>();
  const [error, setError] = useState<SyncError>();
  // StrictMode calls it twice: the same options give the same SDK.
  useEffect(() => void connect(config).then(setSdk, setError), []);
  if (error) return <p role="alert">{error.userMessage}</p>;
  return sdk ? <Chat sdk={sdk} /> : <p role="status">Starting…</p>;
}

createRoot(document.querySelector('#app')!).render(<StrictMode><App /></StrictMode>);
