// A device in a process of its own, for a test to kill: prints what its module printed and stays.
import { createScaledClock } from "../../../local/clock.ts";
import { createEdgeDevice } from "../../../local/edge-device/edge-device.ts";
import { createTestGateway } from "./test-gateway.ts";

const [, , folder = "", image = ""] = process.argv;
const gateway = createTestGateway();
const clock = createScaledClock({ originMs: Date.now(), scale: 1 });
const device = createEdgeDevice({ deviceId: "d1", gateway, clock, folder });
const module = { type: "docker", status: "running", restartPolicy: "always", settings: { image } };
gateway.desire("d1", { schemaVersion: "1.1", modules: { m: module } });
const poll = setInterval(() => {
  const pid = device.logs("m").split("\n")[0];
  if (pid === "" || pid === undefined) return;
  clearInterval(poll);
  process.stdout.write(`${pid}\n`);
}, 10);
