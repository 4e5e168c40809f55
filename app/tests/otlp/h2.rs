//! Just enough of gRPC for a collector of spans: HTTP/2 frames are read, and of heads only that they end.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use crate::receiver::{Received, take_spans};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// Where it listens, and what it has received.
pub(crate) fn start() -> (SocketAddr, Arc<Mutex<Received>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let received: Arc<Mutex<Received>> = Arc::default();
    let ours = Arc::clone(&received);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let ours = Arc::clone(&ours);
            std::thread::spawn(move || drop(serve(stream, &ours))); // an error is the end of the connection
        }
    });
    (address, received)
}

fn serve(mut stream: TcpStream, received: &Mutex<Received>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.read_exact(&mut [0; 24])?; // the preface
    write(&mut stream, SETTINGS, 0, 0, &[])?;
    let mut bodies: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let (kind, flags) = (head[3], head[4]);
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload)?;
        match kind {
            SETTINGS if flags & ACK == 0 => write(&mut stream, SETTINGS, ACK, 0, &[])?,
            PING if flags & ACK == 0 => write(&mut stream, PING, ACK, 0, &payload)?,
            HEADERS => drop(bodies.insert(id, Vec::new())),
            DATA => {
                assert_eq!(flags & 8, 0, "no padding");
                bodies.get_mut(&id).unwrap().extend_from_slice(&payload);
                if length > 0 {
                    write(&mut stream, WINDOW_UPDATE, 0, 0, &length.to_be_bytes())?;
                }
                if flags & END_STREAM != 0 {
                    let body = bodies.remove(&id).unwrap();
                    assert_eq!(body[0], 0, "not compressed");
                    take_spans(&mut received.lock().unwrap(), ExportTraceServiceRequest::decode(&body[5..]).unwrap());
                    answer(&mut stream, id)?;
                } else if length > 0 {
                    write(&mut stream, WINDOW_UPDATE, 0, id, &length.to_be_bytes())?;
                }
            }
            _ => {}
        }
    }
}

/// An empty message, and that all went well.
fn answer(stream: &mut TcpStream, id: u32) -> std::io::Result<()> {
    // :status 200 is entry 8 of HPACK's table, content-type is 31; grpc-status is spelt out.
    let head = [&[0x88, 0x0f, 0x10, 16][..], b"application/grpc"].concat();
    let trailer = [&[0x00, 11][..], b"grpc-status", &[1], b"0"].concat();
    write(stream, HEADERS, END_HEADERS, id, &head)?;
    write(stream, DATA, 0, id, &[0; 5])?;
    write(stream, HEADERS, END_HEADERS | END_STREAM, id, &trailer)
}

fn write(stream: &mut TcpStream, kind: u8, flags: u8, id: u32, payload: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &id.to_be_bytes()].concat();
    stream.write_all(&[&head, payload].concat())
}
