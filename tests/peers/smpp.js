// An SMPP server on loopback that behaves as it is told: one JSON object on stdin changes that, one line of JSON
// on stdout tells what it took. {"status": 88} answers so to the next messages, {"receipt": "now" | "late" | "none" |
// "failed"}, {"send": true} sends what is late, {"drop": true} breaks all connections, {"silent": true} answers nothing.
"use strict";
const smpp = require("smpp");
const readline = require("readline");

const say = (told) => process.stdout.write(JSON.stringify(told) + "\n");
const how = { statuses: [], receipt: "now", silent: false, refuseBind: false };
const sessions = new Set();
const late = [];
let number = 4095;

function receipt(session, id, state) {
  if (session.closed) return;
  session.deliver_sm({
    source_addr: "34600111222",
    destination_addr: "us",
    esm_class: 4,
    short_message: `id:${id} sub:001 dlvrd:001 submit date:2702151200 done date:2702151201 stat:${state} err:0F1 text:x`,
  });
}

const server = smpp.createServer((session) => {
  sessions.add(session);
  session.on("error", () => {});
  session.on("close", () => sessions.delete(session));
  session.on("bind_transceiver", (pdu) => {
    say({ bound: pdu.system_id });
    session.send(pdu.response(how.refuseBind ? { command_status: 13 } : {}));
  });
  session.on("enquire_link", (pdu) => session.send(pdu.response()));
  session.on("unbind", (pdu) => { session.send(pdu.response()); session.close(); });
  session.on("submit_sm", (pdu) => {
    const text = pdu.short_message;
    if (how.silent) { say({ unanswered: true }); return; }
    const status = how.statuses.shift() || 0;
    if (status) {
      say({ refused: status });
      session.send(pdu.response({ command_status: status }));
      return;
    }
    const id = (++number).toString(16);
    const udh = text.udh ? [...text.udh].map((part) => [...part]) : null;
    say({ to: pdu.destination_addr, from: pdu.source_addr, coding: pdu.data_coding, text: text.message, udh, id, ton: pdu.dest_addr_ton });
    if (how.receipt === "now") receipt(session, id, "DELIVRD"); // before the answer itself
    session.send(pdu.response({ message_id: id }));
    if (how.receipt === "failed") receipt(session, String(parseInt(id, 16)), "UNDELIV");
    if (how.receipt === "late") late.push(id);
  });
});

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const told = JSON.parse(line);
  if (told.drop) for (const session of sessions) session.destroy();
  if (told.send) for (const id of late.splice(0)) for (const session of sessions) receipt(session, id, "DELIVRD");
  Object.assign(how, told);
  say({ heard: true });
}).on("close", () => process.exit(0));

server.listen(Number(process.argv[2]), "127.0.0.1", () => say({ listening: true }));
