//! The beginning of a connection: CONNECT read, judged and answered (§3.1, §3.2).
//! What happens afterwards is the connection's.

use super::Shared;
use super::connection::{Connection, Peer, Place};
use super::row;
use super::session::{Key, Session};
use super::will::Testament;
use crate::codec::{
    Connack, Connect, Error, Name, Packet, Properties, Value, Version, decode, encode_within, peek_level,
};
use crate::config::WhenFull;
use crate::{reason, topic};
use broker::{KeptChange, MailboxOptions, Overflow, Retained};
use bytes::{Buf, BytesMut};
use hub::{Credential, Keyless, Origin};
use message::{Code, Fault};
use net::CancellationToken;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Longer client ids than this are refused: they are keys in a table.
const CLIENT_ID_BYTES_MAX: usize = 256;
/// How much a packet may have beside the body of the largest message: topic, properties.
pub(super) const BESIDE_BODY_BYTES: usize = 64 << 10;
/// The largest CONNECT: it holds at most a will of 64 KiB beside names and a key. Until it
/// is read nobody knows who sends it, so this is what a stranger can make the program hold.
const CONNECT_BYTES_MAX: usize = 80 << 10;
/// By then the level of a CONNECT has come: five bytes of fixed header, a name, a byte.
const HEAD_BYTES_MAX: usize = 32;
/// More messages than this are under way to nobody: there are 32,767 packet identifiers for those not on the shelf.
const WINDOW_MAX: u16 = 32_000;
/// How long the peer may take to take our refusal.
const GOODBYE: Duration = Duration::from_secs(2);

/// A CONNECT that is answered with a refusal.
struct Refusal {
    v5: u8,
    v3: u8,
    fault: Fault,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        let codes = reason::of(fault.code());
        Refusal { v5: codes.connack, v3: codes.connack_v3, fault }
    }
}

fn refusal(v5: u8, v3: u8, code: Code, why: impl Into<String>) -> Refusal {
    Refusal { v5, v3, fault: Fault::new(code, why) }
}

/// Serves one connection from its first byte to its last.
pub(super) async fn serve(shared: Arc<Shared>, mut conn: net::Conn, keyless: Keyless) {
    conn.set_protocol("mqtt");
    let packet_max = shared.hub.limits().message_bytes.saturating_add(BESIDE_BODY_BYTES);
    let mut read = BytesMut::new();
    let patience = shared.config.load().connect_timeout.0;
    let connect_max = packet_max.min(CONNECT_BYTES_MAX);
    let first = tokio::time::timeout(patience, read_connect(&mut conn, &mut read, connect_max)).await;
    let connect = match first {
        Ok(Ok(Some(connect))) => connect,
        Ok(Ok(None)) => return,
        Ok(Err(unreadable)) => return refuse_bytes(&shared, conn, unreadable).await,
        Err(_) => {
            shared.hub.counters().fault(&Fault::new(Code::IdleTimeout, "no CONNECT came"));
            return;
        }
    };
    let version = connect.version();
    let packet_max_out = packet_max_out(&connect);
    let stop = shared.hub.tasks().draining().child_token();
    match admit(&shared, &conn, *connect, keyless, &stop, packet_max).await {
        Ok(admitted) => {
            let Admitted { peer, connack, door, place, session, will } = admitted;
            let connection = Connection::new(shared, conn, read, stop, peer, door, session);
            Box::pin(connection.run(connack, place, will)).await;
        }
        Err(Refusal { v5, v3, fault }) => {
            // Who is not let in is told by the hub.
            if !matches!(fault.code(), Code::Unauthenticated | Code::Forbidden) && conn.info().tells() {
                tracing::info!(peer = %conn.peer(), %fault, "CONNECT refused");
            }
            let out = refusing(version, v3, v5, &fault, packet_max_out);
            goodbye(conn, &out).await;
        }
    }
}

/// A CONNECT that cannot be read, and the protocol level that it names, if it comes to that.
struct Unreadable {
    error: Error,
    level: Option<u8>,
}

async fn read_connect(
    conn: &mut net::Conn,
    read: &mut BytesMut,
    packet_max: usize,
) -> Result<Option<Box<Connect>>, Unreadable> {
    let mut level = None;
    loop {
        level = level.or_else(|| peek_level(read));
        // The version is not known yet; V3 is the one without surprises in the fixed header.
        let error = match decode(read, Version::V3, packet_max) {
            Ok(Some(Packet::Connect(connect))) => return Ok(Some(connect)),
            Ok(None) if read.first().is_none_or(|byte| *byte == 0x10) => None,
            // Of one that is too large, the level may still be to come; then it can be told in its words.
            Err(Error::TooLarge { .. }) if level.is_none() && read.len() < HEAD_BYTES_MAX => None,
            Err(error) => Some(error),
            Ok(_) => Some(Error::protocol("3.1", "the first packet is not a CONNECT")),
        };
        if let Some(error) = error {
            return Err(Unreadable { error, level });
        }
        match conn.read_buf(read).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
    }
}

/// A CONNECT of MQTT 5 that is not right is answered with the reason (§3.1.4, §4.13.1). 3.1.1 has its connection closed
/// without a word, as its §3.1.4 demands, and so has what is no CONNECT at all. A level that is not spoken gets the answer
/// that its version has for it (§3.1.2.2).
async fn refuse_bytes(shared: &Shared, conn: net::Conn, unreadable: Unreadable) {
    let Unreadable { error, level } = unreadable;
    let fault = reason::fault_of(&error);
    shared.hub.counters().fault(&fault);
    if conn.info().tells() {
        tracing::info!(peer = %conn.peer(), level, %fault, "CONNECT refused");
    }
    match (error, level) {
        (Error::Version(level), _) if level < 5 => goodbye(conn, &[0x20, 2, 0, 1]).await,
        (Error::Version(_), _) => goodbye(conn, &[0x20, 3, 0, 0x84, 0]).await,
        (error, Some(5)) => {
            goodbye(conn, &refusing(Version::V5, 0, reason::of_error(&error), &fault, usize::MAX)).await;
        }
        _ => goodbye(conn, &[]).await,
    }
}

/// A CONNACK that refuses; nothing when the client takes none that large.
fn refusing(version: Version, v3: u8, v5: u8, fault: &Fault, packet_max: usize) -> BytesMut {
    let (code, properties) = match version {
        Version::V3 => (v3, Properties::default()),
        Version::V5 => {
            let text = Value::Text(reason::text(fault).as_str().into());
            (v5, Properties::default().with(Name::ReasonString, text))
        }
    };
    let mut out = BytesMut::new();
    let connack = Packet::Connack(Connack { session_present: false, code, properties });
    encode_within(connack, version, packet_max, &mut out);
    out
}

async fn goodbye(mut conn: net::Conn, mut bytes: &[u8]) {
    let said = async {
        while bytes.has_remaining() && conn.write_buf(&mut bytes).await.is_ok_and(|written| written > 0) {}
        conn.shutdown().await
    };
    // Whether the peer took it or not, the connection ends.
    drop(tokio::time::timeout(GOODBYE, said).await);
}

struct Admitted {
    peer: Peer,
    connack: Connack,
    door: hub::Session,
    place: Place,
    session: Box<Session>,
    will: Option<Box<Testament>>,
}

async fn admit(
    shared: &Arc<Shared>,
    conn: &net::Conn,
    connect: Connect,
    keyless: Keyless,
    stop: &CancellationToken,
    packet_max: usize,
) -> Result<Admitted, Refusal> {
    let v5 = connect.version() == Version::V5;
    check(&connect)?;
    let id = connect.client_id.as_str();
    let origin = Origin { protocol: "mqtt", peer: conn.peer() };
    let identity = match credential(&connect) {
        Credential::None => keyless.identity(&shared.hub, origin)?,
        credential => shared.hub.authenticate(credential, origin)?,
    };
    conn.info().set_principal(&identity.principal.name);
    let mut door = shared.hub.open(identity, origin);
    if let Some(will) = &connect.will {
        let address = topic::address(will.topic.as_str()).map_err(|fault| {
            refusal(0x90, 5, fault.code(), format!("the will's topic: {}", fault.detail()))
        })?;
        door.allow_publish(&address, will.payload.len())?;
    }
    let assigned = id.is_empty().then(|| {
        let dice = shared.hub.dice();
        format!("auto-{:016x}{:016x}", dice.roll(), dice.roll())
    });
    let key = Key {
        tenant: Arc::clone(&door.principal().tenant),
        principal: Arc::clone(&door.principal().name),
        client_id: assigned.as_deref().unwrap_or(id).into(),
    };
    let owner = shared.owners.fetch_add(1, Ordering::Relaxed);
    let config = shared.config.load_full();
    let entry = shared.sessions.enter(&key, owner, stop, connect.clean, config.sessions).await?;
    // From here on dropped on every way out, so that the next connection must not wait for us.
    let place = Place::new(shared, key.clone(), owner);
    if let Some(will) = entry.will {
        shared.hub.tasks().spawn("mqtt will", will.publish());
    }
    if let Some(over) = entry.over {
        super::end(&shared.hub, *over).await?;
    }
    let wished = match (v5, connect.clean) {
        (true, _) => connect.properties.number(Name::SessionExpiry).unwrap_or(0),
        (false, true) => 0,
        (false, false) => u32::MAX,
    };
    // In MQTT 3.1 that byte is reserved.
    let session_present = entry.session.is_some() && connect.level > 3;
    let expiry_max = u32::try_from(config.session_expiry.0.as_secs()).unwrap_or(u32::MAX);
    let expiry_s = wished.min(expiry_max);
    let mut session = match entry.session {
        Some(session) => resumed(shared, session, expiry_s),
        None => fresh(shared, &key, expiry_s).await?,
    };
    door.set_mailbox(&session.mailbox);
    recheck(&door, &mut session);
    let peer = peer(shared, &connect, packet_max);
    let properties = if v5 {
        answer(&connect, &peer, assigned.as_deref(), (session.expiry_s != wished).then_some(session.expiry_s))
    } else {
        Properties::default()
    };
    let connack = Connack { session_present, code: 0, properties };
    let will = connect.will.map(|will| Box::new(Testament { door: door.clone(), will }));
    Ok(Admitted { peer, connack, door, place, session, will })
}

/// What can be said about a CONNECT without knowing who sends it.
fn check(connect: &Connect) -> Result<(), Refusal> {
    let v5 = connect.version() == Version::V5;
    if connect.properties.text(Name::AuthMethod).is_some() {
        return Err(refusal(
            0x8c,
            5,
            Code::Unauthenticated,
            "extended authentication is not offered (MQTT 5 §4.12)",
        ));
    }
    let id = connect.client_id.as_str();
    if id.len() > CLIENT_ID_BYTES_MAX || id.chars().any(char::is_control) {
        let why = format!("a client id has at most {CLIENT_ID_BYTES_MAX} bytes and no control characters");
        return Err(refusal(0x85, 2, Code::BadRequest, why));
    }
    if id.is_empty() && !v5 && !connect.clean {
        let why = "an empty client id needs a clean session (MQTT 3.1.1 §3.1.3.1)";
        return Err(refusal(0x85, 2, Code::BadRequest, why));
    }
    Ok(())
}

/// The password is the API key, and the user empty or the key's name; a user alone is taken for the key itself, as
/// clients of hosted brokers send their tokens.
fn credential(connect: &Connect) -> Credential<'_> {
    let user = connect.username.as_ref().map(|user| user.as_str()).unwrap_or_default();
    match &connect.password {
        Some(password) if !password.is_empty() => Credential::Password { user, password },
        _ if !user.is_empty() => Credential::Key(user.as_bytes()),
        _ => Credential::None,
    }
}

/// How much of what its client does not read a session holds.
pub(super) fn mailbox_options(shared: &Shared) -> MailboxOptions {
    let config = shared.config.load();
    MailboxOptions {
        messages: shared.hub.limits().mailbox,
        bytes: config.session_bytes,
        overflow: match config.when_full {
            WhenFull::DropOldest => Overflow::DropOldest,
            WhenFull::Refuse => Overflow::Refuse,
        },
        // §3.3.4: a message that several filters match may come once, with the identifiers of all, or once for
        // each. Once is what applications expect and what costs least.
        once: true,
    }
}

/// A session whose client is back.
fn resumed(shared: &Shared, mut session: Box<Session>, expiry_s: u32) -> Box<Session> {
    session.expiry_s = expiry_s;
    session.mailbox.set_options(mailbox_options(shared));
    session.mailbox.set_attended(true);
    let here = KeptChange::State(session.row(None).write());
    // Not waited for: unwritten, its time would count from when it left before.
    drop(session.mailbox.write_down(vec![here]));
    session
}

/// A new session; one that will outlive its connection is on disk from now on.
async fn fresh(shared: &Shared, key: &Key, expiry_s: u32) -> Result<Box<Session>, Fault> {
    let options = mailbox_options(shared);
    if expiry_s == 0 {
        return Ok(Box::new(Session::new(shared.hub.mailbox(options), 0)));
    }
    let here = row::Row { expiry_s, until: None, sent_before: 0 };
    let mailbox = shared.hub.broker().keep_mailbox(&row::write_key(key), options, &here.write()).await?;
    shared.hub.watch_mailbox(&mailbox);
    Ok(Box::new(Session::new(mailbox, expiry_s)))
}

/// Rights may have changed while the client was away: what it may no longer read is taken from the session.
pub(super) fn recheck(door: &hub::Session, session: &mut Session) {
    let mut lost = Vec::new();
    for (filter, sub) in session.subs() {
        match door.subscribe(&session.mailbox, &sub.pattern, &sub.options(Retained::Never)) {
            Err(fault) if fault.code() != Code::TooManySubscriptions => lost.push(filter.clone()),
            _ => {}
        }
    }
    for filter in &lost {
        if let Some(sub) = session.remove(filter) {
            door.unsubscribe(&session.mailbox, &sub.pattern, sub.group.as_deref());
        }
    }
    // Not waited for: after a crash it is looked at again.
    drop(session.mailbox.write_down(lost.into_iter().map(KeptChange::NoFilter).collect()));
}

/// What the client said about itself, as far as the connection needs it.
fn peer(shared: &Shared, connect: &Connect, packet_max: usize) -> Peer {
    let config = shared.config.load();
    let number = |name| connect.properties.number(name).and_then(|value| u16::try_from(value).ok());
    let in_flight = u16::try_from(shared.hub.limits().in_flight).unwrap_or(u16::MAX).max(1);
    let asked = Duration::from_secs(u64::from(connect.keep_alive_s));
    let most = config.keep_alive_max.0;
    // Only MQTT 5 can be told of another keep alive than it asked for (§3.2.2.3.14).
    let cut = connect.version() == Version::V5 && !most.is_zero() && (asked.is_zero() || asked > most);
    Peer {
        version: connect.version(),
        keep_alive: if cut { most } else { asked },
        keep_alive_cut: cut,
        window_out: usize::from(
            number(Name::ReceiveMax).unwrap_or(u16::MAX).min(config.in_flight_out).clamp(1, WINDOW_MAX),
        ),
        window_in: usize::from(in_flight),
        packet_max_out: packet_max_out(connect),
        packet_max_in: packet_max,
        aliases_out: number(Name::TopicAliasMax).unwrap_or(0).min(config.topic_aliases),
        aliases_in: if connect.version() == Version::V5 { config.topic_aliases } else { 0 },
        wants_reasons: connect.properties.number(Name::RequestProblemInfo) != Some(0),
        may_expire: connect.properties.number(Name::SessionExpiry).unwrap_or(0) > 0,
    }
}

/// The largest packet that the client takes, in bytes (§3.1.2.11.4).
fn packet_max_out(connect: &Connect) -> usize {
    let max = connect.properties.number(Name::PacketMax).and_then(|max| usize::try_from(max).ok());
    max.unwrap_or(usize::MAX)
}

/// The properties of an accepting CONNACK (§3.2.2.3): what differs from the defaults.
fn answer(connect: &Connect, peer: &Peer, assigned: Option<&str>, expiry_s: Option<u32>) -> Properties {
    let short = |value: usize| Value::Short(u16::try_from(value).unwrap_or(u16::MAX));
    let mut properties = Properties::default()
        .with(Name::ReceiveMax, short(peer.window_in))
        .with(Name::PacketMax, Value::Long(u32::try_from(peer.packet_max_in).unwrap_or(u32::MAX)))
        .with(Name::TopicAliasMax, Value::Short(peer.aliases_in));
    if peer.keep_alive_cut {
        let seconds = usize::try_from(peer.keep_alive.as_secs()).unwrap_or(usize::MAX).max(1);
        properties = properties.with(Name::ServerKeepAlive, short(seconds));
    }
    if let Some(expiry_s) = expiry_s {
        properties = properties.with(Name::SessionExpiry, Value::Long(expiry_s));
    }
    if let Some(assigned) = assigned {
        properties = properties.with(Name::AssignedClientId, Value::Text(assigned.into()));
    }
    let id = assigned.unwrap_or_else(|| connect.client_id.as_str());
    if connect.properties.number(Name::RequestResponseInfo) == Some(1) && !id.contains(['+', '#']) {
        properties = properties.with(Name::ResponseInfo, Value::Text(format!("reply/{id}").as_str().into()));
    }
    properties
}
