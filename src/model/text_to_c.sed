# A text file as a C string literal; the files have neither quotes nor backslashes.
s/.*/"&\\n"/
