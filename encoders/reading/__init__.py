"""Files of text as others write them: the one reader of bytes, lines, tables and the names of fields.

Every room but `index` reads such files, and this is the lowest that does. What is wrong with an input is raised as the
caller's own error, which it hands in as a `Fault`.
"""
