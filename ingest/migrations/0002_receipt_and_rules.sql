-- What facts written before there were migrations lack. Nobody noted when those came, so they count
-- as received now, and none of them is dropped early; under which rules they were classified is not
-- known either.

ALTER TABLE events ADD COLUMN IF NOT EXISTS
    received DateTime64(9, 'UTC') DEFAULT toDateTime64('{now}', 9, 'UTC')
    COMMENT 'when its batch came, by the clock of this server';

ALTER TABLE events ADD COLUMN IF NOT EXISTS
    rules LowCardinality(String) COMMENT 'version of the rules that were asked for its class';

ALTER TABLE events ADD COLUMN IF NOT EXISTS
    trusted Bool DEFAULT true COMMENT 'whether its sender may bring new things into the graph';

ALTER TABLE events ADD COLUMN IF NOT EXISTS
    checksum UInt64 COMMENT 'of key, batch and classification, under a key in the inbox';
