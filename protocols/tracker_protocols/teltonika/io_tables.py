"""The I/O elements of the FMB, FMC, FMM, FMU and FMT families and of the autonomous trackers (TAT, TMT, GH).

Source: Teltonika Telematics wiki, Full AVL ID List and the "Data Sending Parameters ID" page of each model
(firmware 03.29). Read by ``io_elements.tables``, whose docstring tells the notation. Voltages are V, distances
m, temperatures °C, volumes l, engine hours ms; other units as the wiki gives them.
"""

from __future__ import annotations

PERMANENT = """
1-3 1 in# flag
4 1 in4 flag
4-5 4 pulses# u
6 2 adc2 u/1000
8 8 authorizedIbutton hex
9 2 adc1 u/1000
10 1 sdCard flag
10 2 adc2 u/1000
11 2 adc3 u/1000
11 8 - later
12 4 fuelUsed u/1000
13 2 fuelPer100Km u/100
14 8 - later
15 2 ecoScore u/100
16 4 odometer u
17 2 axisX s
18 2 axisY s
19 2 axisZ s
21 1 rssi u
24 2 gpsSpeed u
50 1 out3 flag
51 1 out4 flag
60 1 gnssJamming u
66 2 power u/1000
67 2 battery u/1000
68 2 batteryCurrent u/1000
69 1 gnssStatus u
70 2 deviceTemp s/10
71 1 gnssStatus u
71 8 probeId4 hex
72-75 2 temp# probe/10
72-75 4 temp# probe/10
76-77 8 probeId# hex
78 8 - later
79 8 probeId3 hex
80 1 dataMode u
113 1 batteryLevel u
116 1 charge flag
144 1 sdCard flag
178 1 networkType u
179-180 1 out# flag
181 2 pdop u/10
182 2 hdop u/10
199 4 tripOdometer u
200 1 sleepMode u
201 2 fuelSensor1 s
202 1 fuelSensorTemp1 s
203 2 fuelSensor2 s
204 1 fuelSensorTemp2 s
205 2 - later
205 4 - later
206 2 - later
207 8 - later
210 2 fuelSensor3 s
211 1 fuelSensorTemp3 s
212 2 fuelSensor4 s
213 1 fuelSensorTemp4 s
214 2 fuelSensor5 s
215 1 fuelSensorTemp5 s
237 1 networkType u
238 8 userId hex
239 1 ignition flag
240 1 motion flag
241 4 operator u
245 2 adc4 u/1000
262 1 in4 flag
263 1 btStatus u
269 1 fuelSensorTemp1 s
271 2 fuelSensorBattery1 u/100
272 1 fuelSensorTemp2 s
274 2 fuelSensorBattery2 u/100
275 1 fuelSensorTemp3 s
277 2 fuelSensorBattery3 u/100
278 1 fuelSensorTemp4 s
280 2 fuelSensorBattery4 u/100
283 1 drivingState u
284 2 drivingRecords u
285 2 bloodAlcohol u
286 1 rssi0 u
303 1 instantMovement flag
327 2 ultrasonicFuelLevel s/10
329 2 adcSpeed u
380 1 out3 flag
381 1 groundSense flag
383 1 axlCalibration u
386 2 lastFixAge u
391 1 privateMode flag
399 1 timeToFirstFix u
403 1 heartRate u
404 1 driverLicenseType u
405 1 driverGender u
406 4 driverCardId u
407 1 driverCardExpiry u
408 4 driverCardPlace u
409 1 driverStatus u
449 4 ignitionOnTime u
483 1 ultrasonicStatus u
502 1 speedSensor flag
622-623 2 frequencyIn# u/10
636 4 - later
637 1 wakeReason u
800 4 power u/1000
839-840 4 adc# u/1000
841-842 1 overcurrentOut# flag
854 4 userNumber u
20012 1 recoveryAlarm u
20015 4 modemUptime u
"""

CELLS = """
287 2 - later
288 2 - later
288 4 - later
289 1 - later
290 2 - later
291 2 - later
291 4 - later
292 1 - later
293 2 - later
294 2 - later
294 4 - later
295 1 - later
296 2 - later
297 2 - later
297 4 - later
298 1 - later
1200-1203 1 - later
1200-1203 2 - later
"""

EVENTS = """
155-159 1 - later
61-65 1 - later
70 1 - later
88 1 - later
91-99 1 - later
153-154 1 - later
190-198 1 - later
208-209 1 - later
216-231 1 - later
175 1 - later
236 1 - later
242 1 - later
246-249 1 - later
251-253 1 - later
255 1 - later
318 1 - later
390 1 - later
400 1 - later
520 1 - later
243 2 greenDrivingDuration u
250 1 trip u
254 1 greenDrivingValue u/100
258-259 8 ecoAxes# hex
260 2 ecoDuration u
317 1 crashCounter u
401 2 amberAlertTimer u
"""

BLUETOOTH = """
20 1 bleBattery2 u
22 1 bleBattery3 u
23 1 bleBattery4 u
25-28 2 bleTemp# s/100
29 1 bleBattery1 u
86 2 bleHumidity1 u/10
104 2 bleHumidity2 u/10
106 2 bleHumidity3 u/10
108 2 bleHumidity4 u/10
270 2 bleFuel1 u
273 2 bleFuel2 u
276 2 bleFuel3 u
279 2 bleFuel4 u
306-309 4 bleFuelFrequency# u
335-338 2 bleLuminosity# u
451-454 8 - later
455-458 1 bleButtonA# flag
459-462 1 bleButtonB# flag
463-466 4 bleCustomA# u
467-470 4 bleCustomB# u
471-474 4 bleCustomC# u
475-478 4 bleCustomD# u
463-466 8 bleCustomA# u
467-470 8 bleCustomB# u
471-474 8 bleCustomC# u
475-478 8 bleCustomD# u
701-704 2 bleTemp# s/10
705-708 1 bleBattery# u
709-712 2 bleHumidity# u/10
713-716 8 bleCustom# u
717-720 2 bleLuminosity# u
721-724 2 bleFuel# u
725-728 4 bleFuelFrequency# u
10800-10803 2 eyeTemp# s/100
10804-10807 1 eyeHumidity# u
10808-10811 1 eyeMagnet# flag
10812-10815 2 eyeMotion# u
10816-10819 1 eyePitch# s
10820-10823 1 eyeLowBattery# flag
10824-10827 1 eyeBattery# u
10824-10827 2 eyeBattery# u/1000
10832-10835 2 eyeRoll# s
10836-10839 2 eyeMotionCount# u
10840-10843 2 eyeMagnetCount# u
"""

VARIABLE = """
256 vin ascii
257 crashTrace hex
264 barcode ascii
281-282 dtcs codes
325 vin ascii
331 bleCustomA1 hex
332 bleCustomB1 hex
333 bleCustomC1 hex
334 bleCustomD1 hex
339 serialNumber ascii
387 iso6709 ascii
388 canModule hex
403 driverName ascii
500 vendorName ascii
501 vehicleNumber ascii
525 dtcs codes
528 vin ascii
529 canModule hex
10518-10521 tachoName ascii
10611-10612 serialData hex
10639 reeferErrors hex
11708 driverName ascii
12001 driverUniqueId ascii
12002 vin ascii
"""
"""Elements of variable length (codec 8 Extended only). ``codes`` are fault codes with commas between."""
