/** Kinds of events, alarms and states in words. */

import type { Attributes } from "../core/types.ts";
import { maybe, t } from "../i18n/index.ts";

const spaced = (camel: string): string => camel.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();

export const EVENT_TYPES = [
  "geofenceEnter",
  "geofenceExit",
  "geofenceDwell",
  "alarm",
  "deviceOverspeed",
  "deviceMoving",
  "deviceStopped",
  "ignitionOn",
  "ignitionOff",
  "deviceOnline",
  "deviceOffline",
  "deviceUnknown",
  "deviceInactive",
  "deviceFuelDrop",
  "deviceFuelIncrease",
  "driverChanged",
  "maintenance",
  "commandResult",
  "queuedCommandSent",
  "textMessage",
  "media",
] as const;

export const ALARMS = [
  "sos",
  "powerCut",
  "powerOff",
  "lowBattery",
  "lowPower",
  "vibration",
  "movement",
  "overspeed",
  "tow",
  "tampering",
  "accident",
  "hardAcceleration",
  "hardBraking",
  "hardCornering",
  "door",
  "jamming",
  "geofenceEnter",
  "geofenceExit",
] as const;

export const typeName = (type: string): string => maybe(`event.${type}`, spaced(type));
export const alarmName = (alarm: string): string => maybe(`alarm.${alarm}`, spaced(alarm));

export function eventName(type: string, attributes: Attributes = {}): string {
  return type === "alarm" && typeof attributes.alarm === "string" ? alarmName(attributes.alarm) : typeName(type);
}

export const reasonName = (reason: string | null): string => (reason ? maybe(`reason.${reason}`, spaced(reason)) : "");
export const stateName = (state: string): string => maybe(`state.${state}`, spaced(state));
export const channelName = (channel: string): string => maybe(`channel.${channel}`, channel);
export const never = (): string => t("time.never");
