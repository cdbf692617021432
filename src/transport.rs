//! The way to the relay: a WebSocket, or what the application supplies.
//!
//! The machine speaks binary frames. What an application supplies takes frames as objects, so these are turned into
//! JSON and back by a second wasm module, which no page loads that does without.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use js_sys::{Function, JSON, Promise, Reflect, Uint8Array};
use solconnect_sync_core::client::{Generation, Input};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::Encoding;
use solconnect_sync_core::limits::FRAME_BYTES_MAX;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket};

use crate::errors::{from_exception, invalid_argument};

#[wasm_bindgen]
extern "C" {
    /// `SyncTransport` of the TypeScript types.
    #[derive(Clone)]
    pub type SyncTransport;

    #[wasm_bindgen(method, catch, js_name = sendSyncMessage)]
    fn send_sync_message(this: &SyncTransport, frame: &JsValue) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = onSyncMessage)]
    fn on_sync_message(this: &SyncTransport, handler: &Function) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = isConnected)]
    fn is_connected(this: &SyncTransport) -> Result<JsValue, JsValue>;
}

#[wasm_bindgen]
extern "C" {
    /// The module that turns frames into JSON and back.
    #[derive(Clone)]
    type FrameCodec;

    #[wasm_bindgen(method, catch, js_name = toJson)]
    fn to_json(this: &FrameCodec, frame: &Uint8Array) -> Result<String, JsValue>;

    #[wasm_bindgen(method, catch, js_name = fromJson)]
    fn from_json(this: &FrameCodec, text: &str) -> Result<Uint8Array, JsValue>;
}

thread_local! {
    static CODEC_LOADER: RefCell<Option<Function>> = const { RefCell::new(None) };
}

/// Tells how the module that turns frames into JSON is loaded: a function that gives a promise of it.
#[wasm_bindgen(js_name = setFrameCodecLoader)]
pub fn set_frame_codec_loader(#[wasm_bindgen(unchecked_param_type = "() => Promise<object>")] loader: Function) {
    CODEC_LOADER.set(Some(loader));
}

async fn load_codec() -> Result<FrameCodec, JsValue> {
    let loader = CODEC_LOADER.with_borrow(Clone::clone).ok_or("the package's root was not loaded")?;
    let codec = JsFuture::from(Promise::resolve(&loader.call0(&JsValue::UNDEFINED)?)).await?;
    Ok(codec.unchecked_into())
}

/// Where frames go.
#[derive(Clone)]
pub enum Route {
    /// To a relay at this URL.
    Relay(String),
    /// Through the application.
    Application(SyncTransport),
}

impl Route {
    /// A URL, or an object with the methods of `SyncTransport`.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`.
    pub fn of(value: &JsValue) -> Result<Route, SyncError> {
        if let Some(url) = value.as_string() {
            check_url(&url)?;
            return Ok(Route::Relay(url));
        }
        for method in ["sendSyncMessage", "onSyncMessage", "isConnected"] {
            if method_of(value, method).is_none() {
                return Err(invalid_argument(["the transport has no method ", method].concat()));
            }
        }
        Ok(Route::Application(value.clone().unchecked_into()))
    }
}

/// Checks that a WebSocket can be opened to it.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub fn check_url(url: &str) -> Result<(), SyncError> {
    let protocol = web_sys::Url::new(url).map(|url| url.protocol()).unwrap_or_default();
    if ["ws:", "wss:"].contains(&protocol.as_str()) {
        return Ok(());
    }
    Err(invalid_argument("the relay's address must be a ws:// or wss:// URL"))
}

fn method_of(object: &JsValue, name: &str) -> Option<Function> {
    Reflect::get(object, &name.into()).ok()?.dyn_into().ok()
}

/// What a link tells the engine.
pub type Feed = Rc<dyn Fn(Input)>;

/// The connection that the machine asks for, one generation at a time.
pub struct Link {
    route: Route,
    feed: Feed,
    generation: Rc<Cell<Generation>>,
    socket: RefCell<Option<Socket>>,
    /// Loaded with the first connection of the application's transport.
    codec: Rc<RefCell<Option<FrameCodec>>>,
}

impl Link {
    /// A link that is not connected.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` where the application's transport refuses a handler.
    pub fn new(route: Route, feed: Feed) -> Result<Link, SyncError> {
        let generation = Rc::new(Cell::new(0));
        let codec: Rc<RefCell<Option<FrameCodec>>> = Rc::default();
        if let Route::Application(transport) = &route {
            let (feed, generation, codec) = (feed.clone(), generation.clone(), codec.clone());
            let handler = Closure::<dyn Fn(JsValue)>::new(move |frame: JsValue| {
                // Without a codec there is no connection yet.
                let Some(codec) = codec.borrow().clone() else { return };
                let text = JSON::stringify(&frame).ok().and_then(|text| text.as_string()).unwrap_or_default();
                let generation = generation.get();
                feed(match codec.from_json(&text) {
                    Ok(frame) => Input::Received { generation, frame: frame.to_vec().into() },
                    Err(exception) => {
                        let reason = from_exception(ErrorCode::RelayMisbehaved, "a frame", &exception).into_message();
                        Input::Disconnected { generation, reason }
                    }
                });
            });
            let handler: Function = handler.into_js_value().unchecked_into();
            let refused = |exception| from_exception(ErrorCode::InvalidArgument, "onSyncMessage", &exception);
            transport.on_sync_message(&handler).map_err(refused)?;
        }
        Ok(Link { route, feed, generation, socket: RefCell::new(None), codec })
    }

    /// Connects; `Connected` or `Disconnected` of this generation follows.
    pub fn connect(&self, generation: Generation) {
        self.generation.set(generation);
        match &self.route {
            Route::Relay(url) => {
                let feed = self.feed.clone();
                let socket = Socket::open(url, Encoding::Binary, move |event| {
                    feed(match event {
                        SocketEvent::Opened => Input::Connected { generation },
                        SocketEvent::Received(data) => match frame_of(&data) {
                            Ok(frame) => Input::Received { generation, frame },
                            Err(reason) => Input::Disconnected { generation, reason },
                        },
                        SocketEvent::Closed(reason) => Input::Disconnected { generation, reason },
                    });
                });
                match socket {
                    Ok(socket) => drop(self.socket.replace(Some(socket))),
                    Err(error) => (self.feed)(Input::Disconnected { generation, reason: error.into_message() }),
                }
            }
            Route::Application(transport) => {
                let (transport, feed, codec) = (transport.clone(), self.feed.clone(), self.codec.clone());
                spawn_local(async move {
                    let loaded = load_codec().await.map(|loaded| drop(codec.replace(Some(loaded))));
                    let failure = match loaded {
                        Ok(()) => connect_application(&transport).await.err(),
                        Err(exception) => Some(from_exception(ErrorCode::ConnectionFailed, "the frames' JSON", &exception).into_message()),
                    };
                    feed(match failure {
                        None => Input::Connected { generation },
                        Some(reason) => Input::Disconnected { generation, reason },
                    });
                });
            }
        }
    }

    /// Gives up a generation. Nothing is heard of it any more.
    pub fn disconnect(&self, generation: Generation) {
        if generation != self.generation.get() {
            return;
        }
        drop(self.socket.take());
        if let Route::Application(transport) = &self.route
            && let Some(disconnect) = method_of(transport, "disconnect")
        {
            // The application was told; what it makes of it is its own affair.
            let _ = disconnect.call0(transport);
        }
    }

    /// Closes what is open; returns the generation that this ends.
    pub fn close(&self) -> Generation {
        let generation = self.generation.get();
        self.disconnect(generation);
        generation
    }

    /// Sends a frame. A failure is told as `Disconnected`.
    pub fn transmit(&self, generation: Generation, frame: &[u8]) {
        if generation != self.generation.get() {
            return;
        }
        match &self.route {
            Route::Relay(_) => {
                if let Some(socket) = &*self.socket.borrow() {
                    // Where it is not open, `Closed` has been told or will be.
                    let _ = socket.socket.send_with_u8_array(frame);
                }
            }
            Route::Application(transport) => {
                let Some(codec) = self.codec.borrow().clone() else { return };
                let text = codec.to_json(&Uint8Array::from(frame));
                let sent = text.and_then(|text| JSON::parse(&text)).and_then(|frame| transport.send_sync_message(&frame));
                let feed = self.feed.clone();
                let failed = move |exception: JsValue| {
                    let reason = from_exception(ErrorCode::RelayDisconnected, "sendSyncMessage", &exception).into_message();
                    feed(Input::Disconnected { generation, reason });
                };
                match sent {
                    Ok(answer) if answer.has_type::<Promise>() => spawn_local(async move {
                        if let Err(exception) = JsFuture::from(answer.unchecked_into::<Promise>()).await {
                            failed(exception);
                        }
                    }),
                    Ok(_) => {}
                    Err(exception) => failed(exception),
                }
            }
        }
    }
}

async fn connect_application(transport: &SyncTransport) -> Result<(), String> {
    let is_connected = || transport.is_connected().is_ok_and(|answer| answer.is_truthy());
    if !is_connected()
        && let Some(connect) = method_of(transport, "connect")
    {
        let refused = |exception| from_exception(ErrorCode::ConnectionFailed, "connect", &exception).into_message();
        let answer = connect.call0(transport).map_err(refused)?;
        JsFuture::from(Promise::resolve(&answer)).await.map_err(refused)?;
    }
    if is_connected() { Ok(()) } else { Err("the application's transport is not connected".to_owned()) }
}

/// What a socket tells.
enum SocketEvent {
    Opened,
    Received(JsValue),
    Closed(String),
}

/// A WebSocket; closed when dropped, and silent from then on.
struct Socket {
    socket: WebSocket,
    _on_open: Closure<dyn Fn()>,
    _on_message: Closure<dyn Fn(MessageEvent)>,
    _on_close: Closure<dyn Fn(CloseEvent)>,
}

impl Socket {
    fn open(url: &str, encoding: Encoding, tell: impl Fn(SocketEvent) + 'static) -> Result<Socket, SyncError> {
        let socket = WebSocket::new_with_str(url, encoding.subprotocol())
            .map_err(|exception| from_exception(ErrorCode::ConnectionFailed, "WebSocket", &exception))?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        let tell = Rc::new(tell);
        let (opened, received, closed) = (tell.clone(), tell.clone(), tell);
        let on_open = Closure::<dyn Fn()>::new(move || opened(SocketEvent::Opened));
        let on_message = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| received(SocketEvent::Received(event.data())));
        let on_close = Closure::<dyn Fn(CloseEvent)>::new(move |event: CloseEvent| {
            let code = event.code().to_string();
            closed(SocketEvent::Closed(["the socket closed with code ", &code, " ", &event.reason()].concat()));
        });
        socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        Ok(Socket { socket, _on_open: on_open, _on_message: on_message, _on_close: on_close })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        let _ = self.socket.close();
    }
}

/// A frame that arrived. Nothing that is larger than a frame is copied into this memory (B29).
fn frame_of(data: &JsValue) -> Result<Arc<[u8]>, String> {
    if data.is_string() {
        return Err("the relay sent text over a binary connection".to_owned());
    }
    // A view, also of a buffer of another realm (a WebSocket of jsdom).
    let bytes = Uint8Array::new(data);
    if bytes.length() as usize > FRAME_BYTES_MAX {
        return Err("the relay sent a frame above the limit".to_owned());
    }
    Ok(bytes.to_vec().into())
}
