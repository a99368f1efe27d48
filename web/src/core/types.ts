/** The shapes of the API, as far as the page reads them. */

export type Attributes = Record<string, unknown>;

export interface User {
  id: number;
  name: string;
  email: string;
  administrator: boolean;
  readonly: boolean;
  deviceReadonly?: boolean;
  role?: string;
  accountId?: number | null;
  temporary?: boolean;
  disabled?: boolean;
  totpKey?: string | null;
  attributes: Attributes;
}

export interface Device {
  id: number;
  name: string;
  uniqueId: string;
  status: "online" | "offline" | "unknown";
  lastUpdate: string | null;
  disabled: boolean;
  positionId: number;
  groupId: number;
  category: string | null;
  phone: string | null;
  model: string | null;
  contact: string | null;
  attributes: Attributes;
}

export interface Position {
  id: number;
  deviceId: number;
  protocol: string;
  deviceTime: string;
  fixTime: string;
  serverTime: string;
  valid: boolean;
  latitude: number;
  longitude: number;
  altitude: number;
  speed: number;
  course: number;
  address: string | null;
  accuracy: number;
  geofenceIds: number[] | null;
  attributes: Attributes;
}

export interface Event {
  id: number;
  type: string;
  eventTime: string;
  deviceId: number;
  positionId: number;
  geofenceId: number;
  attributes: Attributes;
}

export interface Group {
  id: number;
  name: string;
  groupId: number;
}

export interface Geofence {
  id: number;
  name: string;
  description?: string | null;
  area: string;
  calendarId?: number;
  attributes: Attributes;
}

export interface Notification {
  id: number;
  type: string;
  always: boolean;
  calendarId?: number;
  notificators: string;
  attributes: Attributes;
}

export interface Trip {
  deviceId: number;
  deviceName: string;
  distance: number;
  averageSpeed: number;
  maxSpeed: number;
  startTime: string;
  endTime: string;
  startLat: number;
  startLon: number;
  endLat: number;
  endLon: number;
  startAddress: string | null;
  endAddress: string | null;
  duration: number;
}

export interface Stop {
  deviceId: number;
  startTime: string;
  endTime: string;
  duration: number;
  latitude: number;
  longitude: number;
  address: string | null;
}

export interface Managed {
  deviceId: number;
  accountId?: number;
  uniqueId: string;
  name: string;
  state: string;
  reason: string | null;
  note: string | null;
  since: string | null;
  due: string | null;
  unlock: string | null;
  unlockAll: string | null;
  currency: string;
  lastContact: string | null;
  waiting: number;
  /** More may wait than are counted. */
  waitingMore: boolean;
  test: boolean;
  priority: number;
  purgeAt: string | null;
  backPay: string | null;
}

export interface Unknown {
  uniqueId: string;
  protocol: string;
  firstAt: string;
  lastAt: string;
  frames: number;
  reports: number;
}

export interface Account {
  id: number;
  name: string;
  zone: string;
  currency: string;
  language: string;
  email: string;
  messenger?: string;
  tariffId: number | null;
  tariff: string;
  mode: string;
  balance: string;
  minTopup: string | null;
  devices: number;
  blocked: number;
}

export interface LedgerEntry {
  id: number;
  at: string;
  kind: string;
  device: string | null;
  date: string | null;
  amount: string;
  balance: string;
  currency: string;
}

export interface PageConfig {
  title: string;
  version: string;
  tiles: string;
  tilesAttribution: string;
  tilesZoomMax: number;
  languages: string[];
  openid: "off" | "on" | "only";
  geocoder: boolean;
}
