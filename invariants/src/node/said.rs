//! What a worker may say, right and wrong.

use crate::choices::Choices;

const ARRIVED: &[u8] = b"{\"cmd\":\"NODE_HANDLE_ACK\"}\n";
const MISSING: &[u8] = b"{\"cmd\":\"NODE_HANDLE_NACK\"}\n";

/// The worker's word on a handle.
pub(super) fn answer(arrived: bool) -> Vec<u8> {
    if arrived { ARRIVED.to_vec() } else { MISSING.to_vec() }
}

/// Whether a text may be such a word, or hold one.
pub(super) fn is_answer(text: &[u8]) -> bool {
    let word = b"NODE_HANDLE_";
    text.windows(word.len()).any(|part| part == word)
}

/// A field of a question, right and wrong.
const FIELDS: [&str; 28] = [
    r#""address":null"#,
    r#""address":"127.0.0.1""#,
    r#""address":"fe80::1%eth0""#,
    r#""address":"::""#,
    r#""address":"/run/a""#,
    r#""address":"/cwd/\u0000x""#,
    r#""address":["::"]"#,
    r#""port":0"#,
    r#""port":80"#,
    r#""port":-1"#,
    r#""port":"53""#,
    r#""port":null"#,
    r#""port":65536"#,
    r#""addressType":4"#,
    r#""addressType":6"#,
    r#""addressType":-1"#,
    r#""addressType":"udp4""#,
    r#""addressType":"udp6""#,
    r#""addressType":null"#,
    r#""fd":3"#,
    r#""fd":-1"#,
    r#""fd":1.5"#,
    r#""flags":5"#,
    r#""backlog":false"#,
    r#""backlog":18446744073709551615"#,
    r#""index":2"#,
    r#""data":{"ticketKeys":"00"}"#,
    r#""readableAll":"""#,
];

const MESSAGES: [&str; 24] = [
    r#"{"cmd":"NODE_CLUSTER","act":"online","seq":0}"#,
    r#"{"cmd":"NODE_CLUSTER","act":"close","key":"h1","seq":#}"#,
    r#"{"cmd":"NODE_CLUSTER","act":"close","seq":#}"#,
    r#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":#}"#,
    r#"{"cmd":"NODE_CLUSTER","act":"future","seq":#}"#,
    r#"{"cmd":"NODE_CLUSTER","ack":#,"accepted":true,"seq":9}"#,
    r#"{"cmd":"NODE_CLUSTER","ack":#,"accepted":false,"seq":9}"#,
    r#"{"cmd":"NODE_CLUSTER","ack":#,"seq":9}"#,
    r#"{"cmd":"NODE_CLUSTER","ack":-1,"act":5,"key":{},"seq":"x"}"#,
    r#"{"cmd":"NODE_HANDLE_ACK"}"#,
    r#"{"cmd":"NODE_HANDLE_NACK"}"#,
    r#"{"cmd":"NODE_HANDLE"}"#,
    r#"{"cmd":"NODE_SOCKET_GET_COUNT","key":"k#"}"#,
    r#"{"cmd":"NODE_SOCKET_NOTIFY_CLOSE"}"#,
    r#"{"cmd":"NODE_"}"#,
    r#"{"cmd":"NODE_X"}"#,
    r#"{"cmd":{"a":1}}"#,
    r#"{"cmd":"#,
    r#""ready""#,
    "#",
    "null",
    "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]",
    "",
    "\u{2028}",
];

/// A line, or any bytes.
pub(super) fn line(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut text = match choices.below(8) {
        0 => return choices.bytes(60).to_vec(),
        1 => question(choices).into_bytes(),
        2 | 3 => {
            let (kind, message) = (choices.below(4), message(choices));
            format!(r#"{{"cmd":"NODE_HANDLE","type":"{kind}","msg":{message}}}"#).into_bytes()
        }
        _ => message(choices).into_bytes(),
    };
    if choices.below(8) == 7 {
        text.insert(0, 0x02);
    }
    text.push(b'\n');
    text
}

fn message(choices: &mut Choices<'_>) -> String {
    let number = choices.below(8).to_string();
    choices.one_of(&MESSAGES).replace('#', &number)
}

fn question(choices: &mut Choices<'_>) -> String {
    let (act, seq) = (choices.one_of(&["queryServer", "listening"]), choices.below(8));
    let fields: Vec<&str> = (0..choices.below(6)).map(|_| choices.one_of(&FIELDS)).collect();
    let fields: String = fields.iter().flat_map(|field| [",", field]).collect();
    format!(r#"{{"cmd":"NODE_CLUSTER","act":"{act}","seq":{seq}{fields}}}"#)
}
