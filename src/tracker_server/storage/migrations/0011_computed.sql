-- Computed attributes are kept in memory: whoever keeps them hears of a change.
CREATE TRIGGER tell_people AFTER UPDATE OR DELETE ON core.computed_attributes
    FOR EACH STATEMENT EXECUTE FUNCTION core.tell_people();
